//! What performs the writes: the maps of a running kernel, or tables in memory.

use bulkhead_datapath::memory::MemoryTables;

use super::MapWrite;

/// The kernel's tables, written by nobody else.
pub trait Kernel {
    /// Why something did not work.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Performs one write. Inserts are of new keys, and fail if the key is there.
    ///
    /// # Errors
    /// If the kernel refuses. The table is as before.
    fn write(&mut self, write: &MapWrite) -> Result<(), Self::Error>;

    /// Performs writes in their order. Returns how many were performed, and what stopped it.
    fn write_all(&mut self, writes: &[MapWrite]) -> (usize, Option<Self::Error>) {
        for (done, write) in writes.iter().enumerate() {
            if let Err(error) = self.write(write) {
                return (done, Some(error));
            }
        }
        (writes.len(), None)
    }

    /// Returns when no packet is under way that began before the call.
    ///
    /// # Errors
    /// If that cannot be known.
    fn grace(&mut self) -> Result<(), Self::Error>;

    /// Whether the kernel, asked again, holds what the write left.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn holds(&mut self, write: &MapWrite) -> Result<bool, Self::Error>;

    /// Everything that the agent writes, as it is now. Elements of arrays that are all zero may be left out.
    ///
    /// # Errors
    /// If some of it cannot be read.
    fn read(&mut self) -> Result<MemoryTables, Self::Error>;
}
