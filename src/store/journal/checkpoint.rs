//! The file of a checkpoint: head, packed frames, hash of all before it.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::disk::{folder_of, stage_by};
use crate::window::checkpoint::{Checkpoint, CheckpointError, FORMAT, ReadError};

const MAGIC: &[u8; 12] = b"slo-copilotC";
const HEAD_BYTES: usize = MAGIC.len() + 4;
const HASH_BYTES: usize = 8;

/// Fast; most of it is numbers that repeat.
const PACKING_LEVEL: i32 = 1;

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnusableError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is none of ours")]
    Foreign,
    #[error("it has format {found}, and this slo-copilot reads format {FORMAT}")]
    Format { found: u32 },
    #[error("it is damaged: its hash is not that of its content")]
    Damaged,
    #[error(transparent)]
    Content(#[from] ReadError),
}

/// Writes what passes and hashes it.
struct Hashing<'a> {
    out: &'a mut dyn Write,
    hash: Xxh3,
    bytes: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Replaces the checkpoint by what `fill` writes, down to the disk. Returns its bytes.
pub(super) fn write(
    path: &Path,
    fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), CheckpointError<io::Error>>,
) -> Result<u64, CheckpointError<io::Error>> {
    let (staged, bytes) = stage_by(path, CheckpointError::Write, |out| {
        let mut hashing = Hashing {
            out,
            hash: Xxh3::new(),
            bytes: 0,
        };
        hashing.write_all(MAGIC).map_err(CheckpointError::Write)?;
        hashing
            .write_all(&FORMAT.to_le_bytes())
            .map_err(CheckpointError::Write)?;
        let packer = zstd::stream::write::Encoder::new(&mut hashing, PACKING_LEVEL);
        let mut packer = packer.map_err(CheckpointError::Write)?;
        fill(&mut |piece| packer.write_all(piece))?;
        packer.finish().map_err(CheckpointError::Write)?;
        let Hashing { out, hash, bytes } = hashing;
        out.write_all(&hash.digest().to_le_bytes())
            .map_err(CheckpointError::Write)?;
        Ok(bytes + HASH_BYTES as u64)
    })?;
    let replaced = staged.commit().and_then(|()| sync_folder(folder_of(path)));
    replaced.map_err(CheckpointError::Write)?;
    Ok(bytes)
}

/// The parts of the log before the checkpoint go next, so its name must be on the disk, too.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Reads a checkpoint; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Checkpoint>, UnusableError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (head, _) = bytes
        .split_at_checked(HEAD_BYTES)
        .ok_or(UnusableError::Foreign)?;
    let format = head.strip_prefix(MAGIC).ok_or(UnusableError::Foreign)?;
    let format = format.try_into().map_err(|_| UnusableError::Foreign)?;
    let found = u32::from_le_bytes(format);
    if found != FORMAT {
        return Err(UnusableError::Format { found });
    }
    let (hashed, hash) = bytes
        .split_last_chunk::<HASH_BYTES>()
        .ok_or(UnusableError::Damaged)?;
    if xxh3_64(hashed) != u64::from_le_bytes(*hash) {
        return Err(UnusableError::Damaged);
    }
    let packed = hashed.get(HEAD_BYTES..).unwrap_or_default();
    let unpacker = zstd::stream::read::Decoder::with_buffer(packed)?;
    let mut unpacker = BufReader::with_capacity(1 << 17, unpacker);
    Ok(Some(Checkpoint::read(&mut unpacker)?))
}
