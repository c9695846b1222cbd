//! Waiting for a condition with a deadline. Nothing in the harness sleeps for a fixed time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Short, because the conditions are cheap to look at.
const PAUSE_BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// An instant after which waiting is an error.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline that lies `limit` ahead.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// What is left of it; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Looks until `look` has found something. An error of `look` means "not yet" and is told if the deadline passes.
    pub fn until<T>(self, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        loop {
            let seen = look();
            if let Ok(Some(found)) = seen {
                return Ok(found);
            }
            if self.remaining().is_zero() {
                return match seen {
                    Err(error) => {
                        Err(error).with_context(|| format!("{what} did not happen in time"))
                    }
                    Ok(_) => bail!("{what} did not happen in time"),
                };
            }
            thread::sleep(PAUSE_BETWEEN_LOOKS);
        }
    }
}
