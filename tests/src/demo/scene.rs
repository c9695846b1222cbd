//! The stage of the demo: the shop in a lab, the product installed in it, and the oracle that knows what has to be.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bulkhead_policy::model::{Object, ObjectRef, Timestamp};

use super::application::{self, Manifests};
use super::oracle::Oracle;
use crate::lab::endpoint::{StreamId, StreamPlan, Transport};
use crate::lab::{Deviation, Endpoint, Family, Installation, Lab, Matrix};

/// How many deviations an error spells out.
const SPELT_OUT: usize = 12;

/// Everything that runs.
#[derive(Debug)]
pub struct Scene {
    // Dropped in this order: the product's programs first, the lab last.
    pub(crate) product: Installation,
    pub(crate) oracle: Oracle,
    pub(crate) manifests: Manifests,
    pub(crate) lab: Lab,
}

/// A stream between two workloads.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Who opened it.
    pub source: String,
    /// Who serves.
    pub destination: String,
    /// Its port.
    pub port: u16,
    pub(crate) id: StreamId,
    family: Family,
}

impl Scene {
    /// Builds the lab, installs the product and tells it about the application, without any policy.
    pub fn set_up(manifests: Manifests) -> Result<Self> {
        let files = manifests.application()?;
        let mut objects: Vec<Object> = Vec::new();
        for file in &files {
            objects.extend(application::read(file)?);
        }
        let lab = Lab::start(application::plan(&objects)?)?;
        let mut oracle = Oracle::default();
        objects.into_iter().for_each(|object| oracle.take(object));
        let product = Installation::start(&lab, &[]).context("install the product in the lab")?;
        let mut scene = Self {
            product,
            oracle,
            manifests,
            lab,
        };
        scene.tell_application(&files)?;
        Ok(scene)
    }

    fn tell_application(&mut self, files: &[PathBuf]) -> Result<()> {
        for file in files {
            self.product.apply_file(file)?;
        }
        let workloads = self.lab.plan().workloads().len();
        let nodes = self.lab.plan().nodes().len();
        self.product
            .wait("every workload behind its hooks", |status| {
                let protected: u32 = status.nodes.iter().map(|node| node.protected).sum();
                status.is_settled(nodes) && usize::try_from(protected) == Ok(workloads)
            })?;
        Ok(())
    }

    /// Copies the policies into the watched folder; returns how long it took until they were in force on every node.
    pub fn apply_policies(&mut self) -> Result<Duration> {
        let files = self.manifests.policies()?;
        let mut policies: Vec<ObjectRef> = Vec::new();
        for file in &files {
            policies.extend(application::read(file)?.iter().map(Object::reference));
            self.oracle.read(file)?;
        }
        let (from, to) = self.product.settle_timed(
            || {
                files
                    .iter()
                    .try_for_each(|file| self.product.apply_file(file))
            },
            // The folder may be read while it is being written.
            |status| policies.iter().all(|policy| status.is_enforced(policy)),
        )?;
        Ok(Duration::from_nanos(to.0 - from.0))
    }

    /// Asks everybody for everybody and compares with the oracle.
    pub fn checked_matrix(&self) -> Result<Matrix> {
        let cells = Matrix::questions(&self.lab);
        let now = now()?;
        let mut expected = std::collections::BTreeMap::new();
        for cell in &cells {
            expected.insert(cell.clone(), self.oracle.expected(&self.lab, cell, now)?);
        }
        let mut matrix = Matrix::measure(&self.lab, &cells)?;
        let deviations = matrix.deviations(&self.lab, |cell| expected[cell])?;
        ensure!(deviations.is_empty(), "{}", told(&deviations, cells.len()));
        Ok(matrix)
    }

    /// Opens a TCP stream and waits until it flows.
    pub fn open(
        &self,
        source: &str,
        destination: &str,
        port: u16,
        records_per_second: u32,
    ) -> Result<Conversation> {
        let family = Family::V4;
        let to = SocketAddr::new(self.lab.addresses(destination)?.of(family), port);
        let plan = StreamPlan {
            transport: Transport::Tcp,
            to,
            from_port: 0,
            records_per_second,
        };
        let id = self.endpoint(source)?.open(plan)?;
        let conversation = Conversation {
            source: source.to_owned(),
            destination: destination.to_owned(),
            port,
            id,
            family,
        };
        self.wait_echoes(&conversation, 1)?;
        Ok(conversation)
    }

    /// Waits until so many records have come back in all.
    pub fn wait_echoes(&self, conversation: &Conversation, records: u64) -> Result<()> {
        let endpoint = self.endpoint(&conversation.source)?;
        let what = format!(
            "record {records} from {} back at {}",
            conversation.destination, conversation.source
        );
        crate::cluster::Deadline::after(Duration::from_secs(10)).until(&what, || {
            let sent = endpoint.stream(conversation.id)?;
            ensure!(
                sent.error.is_none(),
                "the stream has ended: {:?}",
                sent.error
            );
            Ok((sent.echoed >= records).then_some(()))
        })
    }

    /// What the server has got from the client of a conversation.
    pub fn intake(&self, conversation: &Conversation) -> Result<crate::lab::endpoint::Intake> {
        let from = self
            .lab
            .addresses(&conversation.source)?
            .of(conversation.family);
        self.endpoint(&conversation.destination)?
            .intake(Transport::Tcp, conversation.port, from)
    }

    /// A process of the lab.
    pub fn endpoint(&self, name: &str) -> Result<&Endpoint> {
        self.lab.endpoint(name)
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The product in it.
    pub fn product(&mut self) -> &mut Installation {
        &mut self.product
    }
}

/// Now, as policies count time.
pub(crate) fn now() -> Result<Timestamp> {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")?;
    Ok(Timestamp(i64::try_from(since_epoch.as_millis())?))
}

fn told(deviations: &[Deviation], asked: usize) -> String {
    let first: String = deviations
        .iter()
        .take(SPELT_OUT)
        .map(|deviation| format!("\n  {deviation}"))
        .collect();
    format!(
        "{} of {asked} questions were answered otherwise than the oracle says:{first}",
        deviations.len()
    )
}
