//! The form of a session's line in a build without JSON.

use super::Line;
use std::fmt::{self, Display, Formatter};

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_text(f)
    }
}
