//! How a file is packed, told by its first bytes and not by its name: what is read as if it were not packed, and what is
//! refused by name. gzip and zstd are what logs are packed with by default nowadays; the others would each cost a package.

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// It is not.
    Plain,
    /// With gzip, perhaps several one after the other.
    Gzip,
    /// With zstd.
    Zstd,
    /// In a way that is not read.
    Sealed(Sealed),
}

/// A way of packing that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What it is called.
    pub name: &'static str,
    /// What unpacks it to standard output.
    pub unpacks: &'static str,
    /// What names of such files end in.
    pub ending: &'static str,
    begins: &'static [u8],
}

impl Sealed {
    /// All that are known.
    pub const ALL: [Sealed; 4] = [
        Sealed { name: "xz", unpacks: "xz -dc", ending: "xz", begins: b"\xfd7zXZ\0" },
        Sealed { name: "bzip2", unpacks: "bzip2 -dc", ending: "bz2", begins: b"BZh" },
        Sealed { name: "lz4", unpacks: "lz4 -dc", ending: "lz4", begins: b"\x04\x22\x4d\x18" },
        Sealed { name: "zip", unpacks: "unzip -p", ending: "zip", begins: b"PK\x03\x04" },
    ];

    /// Why a file is not read, and what to do.
    pub fn refusal(&self, file: &str) -> String {
        let Sealed { name, unpacks, .. } = self;
        format!(
            "{file} is packed with {name}, which is not read: write `{unpacks} {file} | …` and `-` in its place, and have \
             logs packed with gzip or zstd"
        )
    }
}

impl Packing {
    /// So many first bytes tell.
    pub const HEAD_BYTES: usize = 6;

    /// How a file is packed that begins so.
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(&[0x1f, 0x8b]) {
            return Packing::Gzip;
        }
        if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            return Packing::Zstd;
        }
        let sealed = Sealed::ALL.into_iter().find(|sealed| head.starts_with(sealed.begins));
        sealed.map_or(Packing::Plain, Packing::Sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_first_bytes() {
        let sealed = |name: &str| Sealed::ALL.into_iter().find(|one| one.name == name).map(Packing::Sealed);
        for (head, expected) in [
            (&b"{\"a\":1}"[..], Some(Packing::Plain)),
            (b"", Some(Packing::Plain)),
            (b"BZ", Some(Packing::Plain)),
            (b"\x1f\x8b\x08", Some(Packing::Gzip)),
            (b"\x28\xb5\x2f\xfd\x00", Some(Packing::Zstd)),
            (b"\xfd7zXZ\0", sealed("xz")),
            (b"BZh91A", sealed("bzip2")),
            (b"\x04\x22\x4d\x18\x64\x40", sealed("lz4")),
            (b"PK\x03\x04\x14\0", sealed("zip")),
        ] {
            assert_eq!(Some(Packing::of(head)), expected, "{head:?}");
            assert!(head.len() <= Packing::HEAD_BYTES || expected == Some(Packing::Plain));
        }
    }
}
