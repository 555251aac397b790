//! Putting the plugin on a node and taking it off again: a file in the CNI folder and an entry in
//! the conflist that the runtime uses.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::PLUGIN;
use super::conflist::{self, Unknown};

/// Largest configuration that is read.
const LONGEST: u64 = 4 << 20;

/// The plugin could not be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("can't {step} {path}: {source}")]
    File { step: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{0} holds no network configuration yet; the cluster's CNI has to put one there first (try again then)"
    )]
    NoConfiguration(PathBuf),
    #[error(
        "the runtime uses {0}, the first in the folder, and that is the configuration of a single plugin, which can't be chained; \
         turn it into a .conflist or name the .conflist to be used before it"
    )]
    Single(PathBuf),
    #[error("{path} is left alone: {source}")]
    Unknown { path: PathBuf, source: Unknown },
    #[error("{0} is left alone: it is over {limit} MiB long", limit = LONGEST >> 20)]
    Long(PathBuf),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The entry was added to, or removed from, this conflist.
    Changed(PathBuf),
    /// It was so already.
    AsBefore(PathBuf),
    /// Nothing to remove.
    Nothing,
}

/// Copies the plugin into `folder`, in the place of an older one: written beside it, synced and
/// renamed, so that a runtime never starts half a file.
///
/// # Errors
/// [`Error::File`].
pub fn binary(plugin: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let bytes = fs::read(plugin).map_err(failed("read", plugin))?;
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let to = folder.join(PLUGIN);
    replace(&to, &bytes, 0o755)?;
    Ok(to)
}

/// Adds the plugin to the conflist that the runtime uses: of the files in `folder`,
/// the first by name, as containerd and CRI-O choose it.
///
/// # Errors
/// [`Error`], saying what to do; nothing is changed then.
pub fn entry(folder: &Path, socket: &str) -> Result<Done, Error> {
    let path = configurations(folder)?
        .into_iter()
        .next()
        .ok_or_else(|| Error::NoConfiguration(folder.to_owned()))?;
    if path.extension().is_none_or(|extension| extension != "conflist") {
        return Err(Error::Single(path));
    }
    edit(path, |text| conflist::add(text, socket))
}

/// Removes the plugin's entry from every conflist in `folder` that has it, and then the file.
///
/// # Errors
/// The first [`Error`]; what can be removed is removed all the same.
pub fn remove(folder: &Path, binaries: &Path) -> Result<Vec<Done>, Error> {
    let mut done = Vec::new();
    let mut first = None;
    for path in configurations(folder)? {
        if path.extension().is_none_or(|extension| extension != "conflist") {
            continue;
        }
        match edit(path, conflist::remove) {
            Ok(one) => done.push(one),
            // A file that can't be read as a list does not have our entry either.
            Err(Error::Unknown { .. } | Error::Long(_)) => {}
            Err(error) => first = first.or(Some(error)),
        }
    }
    if let Some(error) = first {
        // As long as an entry may be left, the file has to be there: no pod could start without.
        return Err(error);
    }
    let plugin = binaries.join(PLUGIN);
    match fs::remove_file(&plugin) {
        Ok(()) => done.push(Done::Changed(plugin)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => done.push(Done::Nothing),
        Err(error) => return Err(failed("remove", &plugin)(error)),
    }
    Ok(done)
}

/// The network configurations of a folder, in the order in which a runtime chooses.
fn configurations(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let listed = match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed("list", folder))?,
    };
    let mut paths: Vec<_> = listed.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("conf" | "conflist" | "json")) && path.is_file()
    });
    paths.sort();
    Ok(paths)
}

fn edit(
    path: PathBuf,
    change: impl FnOnce(&str) -> Result<Option<String>, Unknown>,
) -> Result<Done, Error> {
    let metadata = fs::metadata(&path).map_err(failed("look at", &path))?;
    if metadata.len() > LONGEST {
        return Err(Error::Long(path));
    }
    let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
    match change(&text) {
        Err(source) => Err(Error::Unknown { path, source }),
        Ok(None) => Ok(Done::AsBefore(path)),
        Ok(Some(changed)) => {
            // Some CNIs link their configuration from elsewhere; the link stays, its target changes.
            let target = fs::canonicalize(&path).map_err(failed("find", &path))?;
            replace(&target, changed.as_bytes(), metadata.permissions().mode() & 0o7777)?;
            Ok(Done::Changed(path))
        }
    }
}

/// Writes a file beside `path` and renames it there; after a crash there is the old one or the new.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A leading dot and an extension that no runtime reads.
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(|source| {
        let _ = fs::remove_file(&beside);
        Error::File { step: "replace", path: path.to_owned(), source }
    })
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { step, path, source }
}

#[cfg(test)]
mod tests {
    use super::super::SOCKET;
    use super::*;

    const LIST: &str = r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"bridge"}]}"#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_list_that_the_runtime_uses_gets_the_entry() {
        let folder =
            folder(&[("20-b.conflist", LIST), ("10-a.conflist", LIST), ("00-note.txt", "")]);
        let first = folder.path().join("10-a.conflist");
        fs::set_permissions(&first, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(entry(folder.path(), SOCKET).unwrap(), Done::Changed(first.clone()));
        assert_eq!(entry(folder.path(), SOCKET).unwrap(), Done::AsBefore(first.clone()));
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_to_string(folder.path().join("20-b.conflist")).unwrap(), LIST);
        assert_eq!(names(folder.path()), ["00-note.txt", "10-a.conflist", "20-b.conflist"]);
    }

    #[test]
    fn what_is_not_understood_stays_to_the_byte() {
        for (name, text) in [("10-a.conflist", "{ not json"), ("10-a.conf", r#"{"type":"bridge"}"#)]
        {
            let folder = folder(&[(name, text)]);
            let error = entry(folder.path(), SOCKET).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), text);
        }
        let empty = folder(&[]);
        assert!(matches!(entry(empty.path(), SOCKET), Err(Error::NoConfiguration(_))));
    }

    #[test]
    fn the_binary_is_replaced_and_everything_goes_again() {
        let folder = folder(&[("10-a.conflist", LIST)]);
        let binaries = tempfile::tempdir().unwrap();
        let source = folder.path().join("plugin");
        for bytes in ["one", "two, longer"] {
            fs::write(&source, bytes).unwrap();
            let to = binary(&source, binaries.path()).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), bytes);
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o755);
        }
        entry(folder.path(), SOCKET).unwrap();
        remove(folder.path(), binaries.path()).unwrap();
        let text = fs::read_to_string(folder.path().join("10-a.conflist")).unwrap();
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(LIST).unwrap(), serde_json::from_str(&text).unwrap());
        assert_eq!(before, after);
        assert!(names(binaries.path()).is_empty());
        // Twice, and with nothing there, is no error.
        remove(folder.path(), binaries.path()).unwrap();
        remove(Path::new("/nonexistent"), binaries.path()).unwrap();
    }
}
