//! Container images without a builder and without a registry: an OCI image layout of one layer in a tar archive, as
//! `ctr images import` takes it (OCI image specification 1.0, image-layout and manifest).
//!
//! The same files give the same bytes: names are sorted, times and owners are zero.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Something at a path of the image.
#[derive(Debug, Clone)]
pub enum ImageFile {
    /// A copy of a program of this machine; it has to be linked statically.
    Program(PathBuf),
    /// A readable file.
    Text(String),
    /// A symbolic link.
    Link(String),
    /// A folder that everybody may write to.
    WritableFolder,
}

/// An image to be written.
#[derive(Debug, Clone)]
pub struct Image {
    name: String,
    entry_point: String,
    default_arguments: Vec<String>,
    files: BTreeMap<String, ImageFile>,
}

impl Image {
    /// An empty image. `name` has the form `host/name:tag`, `entry_point` is a path in the image.
    pub fn new(name: &str, entry_point: &str) -> Self {
        Self {
            name: name.into(),
            entry_point: entry_point.into(),
            default_arguments: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// Adds a file; `path` has no leading slash.
    #[must_use]
    pub fn with(mut self, path: &str, file: ImageFile) -> Self {
        self.files.insert(path.to_owned(), file);
        self
    }

    /// The arguments of the entry point of a container that gives none.
    #[must_use]
    pub fn with_default_arguments(mut self, arguments: &[&str]) -> Self {
        self.default_arguments = arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect();
        self
    }

    /// Writes the archive.
    pub fn write(&self, archive: &Path) -> Result<()> {
        self.write_layout(archive)
            .with_context(|| format!("write image {} to {}", self.name, archive.display()))
    }

    fn write_layout(&self, archive: &Path) -> Result<()> {
        let layer = Blob::new("application/vnd.oci.image.layer.v1.tar", self.layer()?);
        let config = Blob::json(
            "application/vnd.oci.image.config.v1+json",
            &json!({
                "architecture": architecture(),
                "os": "linux",
                "config": {"Entrypoint": [self.entry_point], "Cmd": self.default_arguments, "Env": ["PATH=/bin:/"], "WorkingDir": "/"},
                "rootfs": {"type": "layers", "diff_ids": [layer.digest()]},
            }),
        );
        let manifest = Blob::json(
            "application/vnd.oci.image.manifest.v1+json",
            &json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
            }),
        );
        let mut entry = manifest.descriptor();
        entry["annotations"] = json!({"io.containerd.image.name": self.name});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});

        let mut tar = Builder::new(File::create(archive)?);
        append(
            &mut tar,
            "oci-layout",
            json!({"imageLayoutVersion": "1.0.0"})
                .to_string()
                .as_bytes(),
        )?;
        append(&mut tar, "index.json", index.to_string().as_bytes())?;
        for blob in [&manifest, &config, &layer] {
            append(
                &mut tar,
                &format!("blobs/sha256/{}", blob.hash),
                &blob.bytes,
            )?;
        }
        tar.into_inner()?.sync_all()?;
        Ok(())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, file) in &self.files {
            match file {
                ImageFile::Program(source) => {
                    let bytes =
                        fs::read(source).with_context(|| format!("read {}", source.display()))?;
                    tar.append_data(
                        &mut header(EntryType::Regular, 0o755, bytes.len()),
                        path,
                        bytes.as_slice(),
                    )?;
                }
                ImageFile::Text(text) => {
                    tar.append_data(
                        &mut header(EntryType::Regular, 0o644, text.len()),
                        path,
                        text.as_bytes(),
                    )?;
                }
                ImageFile::Link(target) => {
                    tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?
                }
                ImageFile::WritableFolder => {
                    tar.append_data(
                        &mut header(EntryType::Directory, 0o1777, 0),
                        format!("{path}/"),
                        std::io::empty(),
                    )?;
                }
            }
        }
        Ok(tar.into_inner()?)
    }
}

/// A part of the layout, found by its digest.
struct Blob {
    media_type: &'static str,
    hash: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        let hash = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            media_type,
            hash,
            bytes,
        }
    }

    fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hash)
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }
}

fn append(tar: &mut Builder<File>, path: &str, bytes: &[u8]) -> Result<()> {
    Ok(tar.append_data(
        &mut header(EntryType::Regular, 0o644, bytes.len()),
        path,
        bytes,
    )?)
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// The machine's architecture, by the name Go and OCI give it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
