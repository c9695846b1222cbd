//! ANSWERS: what policy said lately, private to the programs.

use super::KernelError;
use aya::Ebpf;
use aya::maps::{PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use bulkhead_datapath::verdict::{ANSWERS, Answer};

const NAME: &str = "ANSWERS";

/// One answer's bytes.
type Bytes = [u8; size_of::<Answer>()];

/// Forgets all: they answer for a generation, and whoever puts other tables in their place may give it the same number.
pub(super) fn forget(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let map = ebpf.map_mut(NAME).ok_or(KernelError::Missing(NAME))?;
    let mut answers =
        PerCpuArray::<_, Bytes>::try_from(map).map_err(|_| KernelError::Missing(NAME))?;
    let processors = nr_cpus().map_err(|_| KernelError::Missing("number of processors"))?;
    for place in 0..ANSWERS {
        let none = PerCpuValues::try_from(vec![[0; size_of::<Answer>()]; processors])
            .map_err(|_| KernelError::Missing(NAME))?;
        answers
            .set(place, none, 0)
            .map_err(|_| KernelError::Missing(NAME))?;
    }
    Ok(())
}
