//! All that is written to standard output and standard error. A stream that is closed, or whose reader has gone
//! away (`| head`), changes nothing: what is measured goes on, and the exit status is the one that it would be.
#![allow(clippy::disallowed_methods, reason = "the one place that may")]

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::process::Stdio;

use crate::plain_text::printable;

/// Writes a result to standard output.
///
/// # Errors
/// Where it cannot be written although somebody may want it: the disk is full.
pub fn print(text: &str) -> io::Result<()> {
    Stream::Output.write(printable(text).as_bytes())
}

/// Writes a line to standard output, beside what is kept elsewhere.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{}", printable(line));
}

/// Writes a line to standard error: progress, a note, a warning, an error. If that fails, there is nowhere to
/// report it.
pub fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// A stream of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Stream {
    Output,
    Error,
}

impl Stream {
    /// Whether a terminal shows it.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Output => io::stdout().is_terminal(),
            Self::Error => io::stderr().is_terminal(),
        }
    }

    /// The stream itself, for a process that is started.
    pub fn stdio(self) -> Stdio {
        match self {
            Self::Output => io::stdout().into(),
            Self::Error => io::stderr().into(),
        }
    }

    /// Passes on to this stream what another process prints, as it is and to its end, whether or not anybody
    /// still reads it here.
    ///
    /// # Errors
    /// Where it cannot be written although somebody may want it.
    pub fn pass_on(self, mut from: impl Read) -> io::Result<()> {
        let mut passed_on = PassedOn { stream: self, written: Ok(()) };
        io::copy(&mut from, &mut passed_on)?;
        passed_on.written
    }

    fn write(self, bytes: &[u8]) -> io::Result<()> {
        fn write(mut to: impl Write, bytes: &[u8], name: &str) -> io::Result<()> {
            match to.write_all(bytes).and_then(|()| to.flush()) {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    let error = format!("cannot write to standard {name}: {error}");
                    Err(io::Error::other(error))
                }
                _ => Ok(()),
            }
        }
        match self {
            Self::Output => write(io::stdout().lock(), bytes, "output"),
            Self::Error => write(io::stderr().lock(), bytes, "error"),
        }
    }
}

/// Takes everything: a process that cannot print what it has to say may end in the middle of it.
struct PassedOn {
    stream: Stream,
    written: io::Result<()>,
}

impl Write for PassedOn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes);
        self.written = std::mem::replace(&mut self.written, Ok(())).and(written);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
