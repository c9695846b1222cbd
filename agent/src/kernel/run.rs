//! Test-run: asks a program about a frame that nobody sent.

use super::{Kernel, KernelError};
use aya::programs::{TestRun, TestRunOptions};
use bulkhead_datapath::abi::{Action, Hook, Plain, Reason};
use std::time::Duration;

/// What a frame comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skb {
    /// The interface that the hook is on; it has to exist in this network namespace, and 1 is the loopback.
    pub ifindex: u32,
    /// The interface that the node received it on; 0 if on none (then it counts as sent by a socket of the host).
    pub ingress_ifindex: u32,
}

/// What a program said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Why.
    pub reason: Reason,
    /// What becomes of the packet, as the program returned it.
    pub action: Action,
    /// Average time of one run.
    pub duration: Duration,
}

/// The kernel's `struct __sk_buff` in words, and where in it a test-run may set or show something.
const CONTEXT_WORDS: usize = 48;
const INGRESS_IFINDEX: usize = 9;
const IFINDEX: usize = 10;
const LAST_CONTROL_WORD: usize = 16;
const NEXT: u32 = u32::MAX;

impl Kernel {
    /// Runs a hook's program on a frame.
    pub fn run(&self, hook: Hook, frame: &[u8], skb: Skb) -> Result<Ran, KernelError> {
        self.run_repeatedly(hook, frame, skb, 1)
    }

    /// Runs a hook's program on the same frame many times.
    pub fn run_repeatedly(
        &self,
        hook: Hook,
        frame: &[u8],
        skb: Skb,
        times: u32,
    ) -> Result<Ran, KernelError> {
        let input = context(skb);
        let mut output = vec![0_u8; input.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: None,
            ctx_in: Some(&input),
            ctx_out: Some(&mut output),
            repeat: times,
            ..TestRunOptions::default()
        };
        let result =
            self.program(hook)?
                .test_run(options)
                .map_err(|reason| KernelError::Program {
                    program: hook.name(),
                    reason: Box::new(reason),
                })?;
        let word = output
            .get(LAST_CONTROL_WORD * 4..)
            .and_then(|rest| rest.get(..4))
            .and_then(u32::from_bytes);
        let reason = word
            .and_then(|word| u8::try_from(word).ok())
            .and_then(Reason::from_number);
        Ok(Ran {
            reason: reason.ok_or(KernelError::Missing("reason in the packet's control block"))?,
            action: if result.return_value == NEXT {
                Action::Pass
            } else {
                Action::Drop
            },
            duration: result.duration,
        })
    }

    /// Runs a program that [`Kernel::open_with`] loaded: for benchmarks.
    pub fn run_named(
        &self,
        name: &'static str,
        frame: &[u8],
        skb: Skb,
        times: u32,
    ) -> Result<Duration, KernelError> {
        let failed = |reason| KernelError::Program {
            program: name,
            reason: Box::new(reason),
        };
        let program = self.program_named(name)?;
        let input = context(skb);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&input),
            repeat: times,
            ..TestRunOptions::default()
        };
        Ok(program.test_run(options).map_err(failed)?.duration)
    }
}

fn context(skb: Skb) -> Vec<u8> {
    let mut words = [0_u32; CONTEXT_WORDS];
    words[INGRESS_IFINDEX] = skb.ingress_ifindex;
    words[IFINDEX] = skb.ifindex;
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
