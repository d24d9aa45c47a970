//! Files that were packed when they were put aside: read as if they were not, and not again where they were read before.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sightline_producers::packing::Packing;

/// Most bytes that a packed file may unfold to: as much of the disk is taken while it is read.
const BYTES_MAX: u64 = 64 << 30;

/// How a file is packed.
///
/// # Errors
/// When it cannot be read.
pub fn packing(path: &Path) -> io::Result<Packing> {
    let mut head = Vec::new();
    File::open(path)?.take(Packing::HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(Packing::of(&head))
}

/// What a packed file holds, as a file that nobody else sees and that is gone when it is closed. A file that is being packed
/// still ends too early, which is an error.
///
/// # Errors
/// When it cannot be read, or there is no room for it.
pub fn unfold(path: &Path, folder: &Path) -> io::Result<File> {
    let mut packed = BufReader::new(File::open(path)?);
    let mut head = Vec::new();
    packed.by_ref().take(Packing::HEAD_BYTES as u64).read_to_end(&mut head)?;
    packed.seek(SeekFrom::Start(0))?;
    let plain: Box<dyn Read> = match Packing::of(&head) {
        Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
        // Whatever else has the name of a packed file is none, or not yet.
        _ => Box::new(zstd::Decoder::with_buffer(packed)?),
    };
    let name = folder.join(format!("unfolded.{}", std::process::id()));
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&name)?;
    // Held open, it stays until it is closed, also when we are killed.
    std::fs::remove_file(&name)?;
    let copied = io::copy(&mut plain.take(BYTES_MAX + 1), &mut file)?;
    if copied > BYTES_MAX {
        return Err(io::Error::other(format!("{} unfolds to more than {BYTES_MAX} bytes", path.display())));
    }
    Ok(file)
}
