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

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<(u32, Value<'_>)>, Malformed> {
        Fields::new(bytes).next_field()
    }

    /// A varint field number 1 whose value is these bytes.
    fn varint(bytes: &[u8]) -> Result<u64, Malformed> {
        let message = [&[0x08], bytes].concat();
        match first(&message)? {
            Some((1, Value::Varint(value))) => Ok(value),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn varints_hold_up_to_ten_bytes_and_64_bits() {
        let nines = [0xff; 9];
        let with_last = |last: u8| [&nines[..], &[last]].concat();
        for (bytes, expected) in [
            (vec![0x00], Ok(0)),
            (vec![0x7f], Ok(127)),
            (vec![0x80, 0x01], Ok(128)),
            (vec![0x80, 0x80, 0x00], Ok(0)),
            ([&[0x80; 9][..], &[0x00]].concat(), Ok(0)),
            (with_last(0x01), Ok(u64::MAX)),
            (with_last(0x02), Err(Malformed::Varint)),
            (with_last(0x7f), Err(Malformed::Varint)),
            (with_last(0x81), Err(Malformed::Varint)),
            ([&[0xff; 10][..], &[0x01]].concat(), Err(Malformed::Varint)),
            (vec![], Err(Malformed::Truncated)),
            (vec![0x80], Err(Malformed::Truncated)),
            (nines.to_vec(), Err(Malformed::Truncated)),
        ] {
            assert_eq!(varint(&bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn field_numbers_are_from_1_to_29_bits() {
        for (tag, expected) in [
            (&[0x00][..], Err(Malformed::FieldNumber)),
            (&[0x05], Err(Malformed::FieldNumber)),
            (&[0xf8, 0xff, 0xff, 0xff, 0x0f], Ok((1 << 29) - 1)),
            (&[0x80, 0x80, 0x80, 0x80, 0x10], Err(Malformed::FieldNumber)),
        ] {
            let message = [tag, &[0x00; 8]].concat();
            let number = first(&message).map(|field| field.unwrap().0);
            assert_eq!(number, expected, "{tag:02x?}");
        }
    }

    #[test]
    fn every_wire_type_is_read_or_refused() {
        for (message, expected) in [
            (&[][..], Ok(None)),
            (
                &[0x09, 1, 0, 0, 0, 0, 0, 0, 0],
                Ok(Some((1, Value::Fixed64(1)))),
            ),
            (&[0x09, 1, 0, 0, 0, 0, 0, 0], Err(Malformed::Truncated)),
            (&[0x0a, 2, 7, 8], Ok(Some((1, Value::Bytes(&[7, 8]))))),
            (&[0x0a, 0], Ok(Some((1, Value::Bytes(&[]))))),
            (&[0x0a, 3, 7, 8], Err(Malformed::Truncated)),
            (
                &[
                    0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
                ],
                Err(Malformed::Truncated),
            ),
            (&[0x0d, 1, 2, 3, 4], Ok(Some((1, Value::Other)))),
            (&[0x0d, 1, 2, 3], Err(Malformed::Truncated)),
            (&[0x0c], Err(Malformed::WireType)),
            (&[0x0e, 0], Err(Malformed::WireType)),
            (&[0x0f, 0], Err(Malformed::WireType)),
        ] {
            assert_eq!(first(message), expected, "{message:02x?}");
        }
    }

    #[test]
    fn a_group_ends_where_its_own_end_stands() {
        for (message, expected) in [
            // Group 1 with a varint, a fixed64, bytes, a fixed32 and group 2 in it.
            (
                &[
                    0x0b, 0x08, 0x80, 0x01, 0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x12, 1, 0x0c, 0x0d, 1,
                    2, 3, 4, 0x13, 0x14, 0x0c,
                ][..],
                Ok(Some((1, Value::Other))),
            ),
            (&[0x0b], Err(Malformed::Truncated)),
            (&[0x0b, 0x08], Err(Malformed::Truncated)),
            (&[0x0b, 0x14], Err(Malformed::WireType)),
            (&[0x0b, 0x13, 0x0c, 0x14], Err(Malformed::WireType)),
            (&[0x0b, 0x00, 0x0c], Err(Malformed::FieldNumber)),
            (&[0x0b, 0x0e, 0x0c], Err(Malformed::WireType)),
        ] {
            assert_eq!(first(message), expected, "{message:02x?}");
        }
    }

    #[test]
    fn after_a_group_the_next_field_follows() {
        let mut fields = Fields::new(&[0x0b, 0x0c, 0x10, 0x05]);
        assert_eq!(fields.next_field(), Ok(Some((1, Value::Other))));
        assert_eq!(fields.next_field(), Ok(Some((2, Value::Varint(5)))));
        assert_eq!(fields.next_field(), Ok(None));
    }
}
