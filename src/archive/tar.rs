//! One entry of a tar file (POSIX.1-1988 ustar; what longer names need is passed over).

/// Bytes of a header, and of what contents are padded to.
const BLOCK: usize = 512;
/// Places in the header.
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const TYPE: usize = 156;

/// The content of the regular file of that name, if there is one.
///
/// # Errors
/// Why it is no tar file.
pub fn entry<'a>(mut tar: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, &'static str> {
    while let Some((header, rest)) = tar.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let size = size(&header[SIZE]).ok_or("a size in it is no number")?;
        let content = rest.get(..size).ok_or("it is cut short")?;
        let found = header[NAME].split(|byte| *byte == 0).next().unwrap_or_default();
        let found = found.strip_prefix(b"./").unwrap_or(found);
        if found == name.as_bytes() && matches!(header[TYPE], b'0' | 0) {
            return Ok(Some(content));
        }
        tar = rest.get(size.next_multiple_of(BLOCK)..).unwrap_or_default();
    }
    if tar.is_empty() { Ok(None) } else { Err("it is cut short") }
}

/// Octal digits, or (GNU) big-endian bytes after 0x80.
fn size(field: &[u8]) -> Option<usize> {
    if field[0] == 0x80 {
        let bytes = field.last_chunk::<8>()?;
        return usize::try_from(u64::from_be_bytes(*bytes)).ok();
    }
    let text = std::str::from_utf8(field).ok()?;
    usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tar file of these entries.
    pub fn made(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, content) in entries {
            let mut header = [0; BLOCK];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[SIZE].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
            header[TYPE] = b'0';
            tar.extend_from_slice(&header);
            tar.extend_from_slice(content);
            tar.resize(tar.len().next_multiple_of(BLOCK), 0);
        }
        tar.resize(tar.len() + 2 * BLOCK, 0);
        tar
    }

    #[test]
    fn entries_are_found_and_cuts_are_seen() {
        let tar = made(&[("a", b"one"), ("./b", &[7; 600]), ("c", b"")]);
        assert_eq!(entry(&tar, "a").unwrap(), Some(&b"one"[..]));
        assert_eq!(entry(&tar, "b").unwrap().unwrap().len(), 600);
        assert_eq!(entry(&tar, "c").unwrap(), Some(&b""[..]));
        assert_eq!(entry(&tar, "d").unwrap(), None);
        for end in [1, BLOCK + 1, 2 * BLOCK + 1, 3 * BLOCK + 10] {
            assert!(entry(&tar[..end], "d").is_err(), "{end}");
        }
    }

    /// What the system's tar makes is read.
    #[test]
    fn a_real_tar_is_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("checkpoint")).unwrap();
        std::fs::write(folder.path().join("checkpoint/pages.img"), [1; 5000]).unwrap();
        std::fs::write(folder.path().join("spec.dump"), b"{}").unwrap();
        for format in ["ustar", "pax", "gnu"] {
            let made = std::process::Command::new("tar")
                .args(["--format", format, "-C"])
                .arg(folder.path())
                .args(["-cf", "-", "."])
                .output()
                .unwrap();
            assert_eq!(entry(&made.stdout, "spec.dump").unwrap(), Some(&b"{}"[..]), "{format}");
        }
    }
}
