//! Where intent comes from: a folder of manifests or the Kubernetes API.
