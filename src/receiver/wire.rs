//! Reading the protobuf wire format without building messages.
//!
//! Unknown fields and groups are skipped as the protobuf specification demands; what cannot be read is [`Malformed`].

/// Bytes that are not a protobuf message of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A varint has more than ten bytes.
    #[error("a varint is longer than ten bytes")]
    Varint,
    /// A tag has field number 0 or one above 2²⁹−1.
    #[error("a field number is out of range")]
    FieldNumber,
    /// A wire type that does not exist, or a group that does not match.
    #[error("a wire type is invalid or a group does not end")]
    WireType,
}

/// Groups inside groups that are followed; protobuf libraries stop at 100 too.
const GROUP_DEPTH_MAX: u32 = 100;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5, and groups, which no message of OTLP has.
    Other,
}

/// The fields of a message, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of a message.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What is left to read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Skips the next field if it has this tag, of wire type 2, and a length of one byte.
    #[inline]
    pub fn skip_short(&mut self, tag: u8) -> bool {
        match self.rest {
            [first, len @ 0..0x80, rest @ ..] if *first == tag => {
                let after = rest.get(usize::from(*len)..);
                self.rest = after.unwrap_or(self.rest);
                after.is_some()
            }
            _ => false,
        }
    }

    /// The next field's number and value.
    #[expect(
        clippy::inline_always,
        reason = "a third of the scan; the compiler leaves it out of line"
    )]
    #[inline(always)]
    pub fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = field_number(tag)?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take_array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed::Truncated)?;
                Value::Bytes(self.take(len)?)
            }
            3 => {
                self.skip_group(number)?;
                Value::Other
            }
            5 => {
                self.take(4)?;
                Value::Other
            }
            _ => return Err(Malformed::WireType),
        };
        Ok(Some((number, value)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first() {
            Some((first, rest)) if *first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*first))
            }
            Some(_) => self.long_varint(),
            None => Err(Malformed::Truncated),
        }
    }

    #[inline]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (position, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * position);
            if *byte < 0x80 {
                // The tenth byte holds the one bit that is left of 64.
                if position == 9 && *byte > 1 {
                    return Err(Malformed::Varint);
                }
                self.rest = self.rest.get(position + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 {
            Malformed::Truncated
        } else {
            Malformed::Varint
        })
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let tag = self.varint()?;
            let number = field_number(tag)?;
            match tag & 7 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let len = usize::try_from(self.varint()?).map_err(|_| Malformed::Truncated)?;
                    self.take(len)?;
                }
                3 if open.len() < GROUP_DEPTH_MAX as usize => open.push(number),
                4 if number == innermost => {
                    open.pop();
                }
                5 => {
                    self.take(4)?;
                }
                _ => return Err(Malformed::WireType),
            }
        }
        Ok(())
    }
}

#[inline]
fn field_number(tag: u64) -> Result<u32, Malformed> {
    match u32::try_from(tag) {
        Ok(tag) if tag >> 3 != 0 => Ok(tag >> 3),
        Ok(_) | Err(_) => Err(Malformed::FieldNumber),
    }
}
