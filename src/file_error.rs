//! What went wrong with a file: the one error for "this file, this action, this cause, this remedy".

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A file or folder could not be used: `cannot read a.csv: permission denied`, and what to do about it
/// on a second line where that is known.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    action: &'static str,
    cause: Box<dyn Error + Send + Sync>,
    hint: Option<Cow<'static, str>>,
}

impl FileError {
    /// `cannot {action} {path}: {cause}`; the action is a verb, such as `rename`.
    pub fn new(
        action: &'static str,
        path: &Path,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { path: path.to_owned(), action, cause: cause.into(), hint: None }
    }

    /// The file could not be read, or is not what its name promises.
    pub fn read(path: &Path, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new("read", path, cause)
    }

    /// The file could not be written.
    pub fn write(path: &Path, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new("write", path, cause)
    }

    /// The folder could not be created.
    pub fn create(path: &Path, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new("create", path, cause)
    }

    /// The same error with a next step for the user.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the system said, where it was the system that refused.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        self.cause.downcast_ref::<io::Error>().map(io::Error::kind)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.action, self.path.display(), self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Error for FileError {
    // the cause is a part of the message: as a source, too, it would be printed twice
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_action_file_cause_and_hint() {
        let cause = io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
        let error = FileError::read(Path::new("a.csv"), cause).with_hint("choose another file");
        assert_eq!(
            error.to_string(),
            "cannot read a.csv: permission denied\nhint: choose another file"
        );
        assert_eq!(error.kind(), Some(io::ErrorKind::PermissionDenied));
        let error = FileError::new("rename", Path::new("b"), "it is cut");
        assert_eq!(error.to_string(), "cannot rename b: it is cut");
        assert_eq!((error.kind(), error.path()), (None, Path::new("b")));
    }
}
