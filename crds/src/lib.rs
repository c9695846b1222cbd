//! The Kubernetes face of the policy model: kinds, validation, conversion.
