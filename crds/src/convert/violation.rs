//! Why an object, or a part of it, cannot be read.

use bulkhead_policy::model::Fault;
use thiserror::Error;

/// An object that cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{object}: {field}: {message}")]
pub struct Rejection {
    /// Kind and name, as far as they are known.
    pub object: String,
    /// Path of the field, `spec.ingress[0].from[1]`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// A field that cannot be read; the caller decides what that makes of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) field: String,
    pub(super) message: String,
}

pub(super) type Checked<T> = Result<T, Violation>;

impl Violation {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }

    pub(super) fn into_rejection(self, object: impl Into<String>) -> Rejection {
        Rejection {
            object: object.into(),
            field: self.field,
            message: self.message,
        }
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self {
            field: violation.field,
            message: violation.message,
        }
    }
}
