//! What the programs are made of: instructions and stack, counted in the object before a kernel has seen it.

use anyhow::{Context, Result};
use aya_obj::Object;
use aya_obj::generated::bpf_insn;
use bulkhead_datapath::abi::Hook;

/// One program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSize {
    /// Which.
    pub hook: Hook,
    /// Instructions; one that loads 64 bits counts twice.
    pub instructions: usize,
    /// Calls, before the verifier replaces some by instructions.
    pub calls: usize,
    /// Bytes of its own stack, of 512. What it calls that cannot be (a diagnosis) has one of its own.
    pub stack: usize,
}

/// Both programs.
///
/// # Errors
/// Where the object is none, or has not these programs.
pub fn sizes(object: &[u8]) -> Result<Vec<ProgramSize>> {
    let object = Object::parse(object).context("the kernel programs are no object")?;
    Hook::ALL
        .into_iter()
        .map(|hook| {
            let program = object.programs.get(hook.name());
            let program = program.with_context(|| format!("no program {}", hook.name()))?;
            let function = object.functions.get(&program.function_key());
            let instructions = &function
                .context("a program without a function")?
                .instructions;
            Ok(size(hook, instructions))
        })
        .collect()
}

const FRAME: u8 = 10;
const CALL: u8 = 0x85;
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;

fn size(hook: Hook, instructions: &[bpf_insn]) -> ProgramSize {
    let (mut calls, mut deepest) = (0, 0);
    // Registers that hold the frame's address, until something else is said of them.
    let mut frame = [false; 16];
    for instruction in instructions {
        let (source, target) = (instruction.src_reg(), instruction.dst_reg());
        let of_frame = frame[usize::from(target)];
        let depth = match (instruction.code & 7, instruction.code) {
            (1, _) if source == FRAME => i32::from(instruction.off),
            (2 | 3, _) if target == FRAME => i32::from(instruction.off),
            (_, ADD) if of_frame => instruction.imm,
            _ => 0,
        };
        deepest = deepest.max(depth.min(0).unsigned_abs() as usize);
        match instruction.code {
            CALL => calls += 1,
            MOVE => frame[usize::from(target)] = source == FRAME,
            // Stores and jumps change no register.
            code if matches!(code & 7, 0 | 1 | 4 | 7) => frame[usize::from(target)] = false,
            _ => {}
        }
    }
    ProgramSize {
        hook,
        instructions: instructions.len(),
        calls,
        stack: deepest.next_multiple_of(8),
    }
}
