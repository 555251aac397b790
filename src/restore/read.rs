//! Reading one class.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::state::table::{Class, Source};
use crate::state::{ReadError, Reader, classes};

pub fn read(class: &'static Class, reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    match class.source {
        Source::Netlink { protocol, dumps, .. } => {
            for dump in dumps {
                reader
                    .dump(protocol, dump.kind, dump.body, &mut section)
                    .map_err(|source| ReadError::Netlink { what: class.name, source })?;
            }
        }
        Source::Sysctl => walk(Path::new("/proc/sys/net"), "", &mut section),
        Source::Read(read) | Source::Watched { read, .. } => section = read(reader)?,
    }
    Ok(section)
}

fn walk(at: &Path, path: &str, section: &mut Vec<u8>) {
    let Ok(entries) = std::fs::read_dir(at) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            walk(&entry.path(), &path, section);
        } else if metadata.permissions().mode() & 0o200 != 0 && classes::sysctls::carried(&path) {
            if let Ok(value) = std::fs::read(entry.path()) {
                section.extend_from_slice(path.as_bytes());
                section.push(0);
                let end = value.len() - usize::from(value.ends_with(b"\n"));
                section.extend_from_slice(&value[..end]);
                section.push(0);
            }
        }
    }
}
