use crate::chain::CustomPrecompile;
use alloy_primitives::{Address, map::AddressSet};
use revm::{
    context_interface::{Cfg, ContextTr},
    handler::{EthPrecompiles, PrecompileProvider, precompile_output_to_interpreter_result},
    interpreter::{CallInputs, InterpreterResult},
    primitives::hardfork::SpecId,
};
use std::sync::Arc;

/// The fork's precompiles and those that the chain adds.
#[derive(Debug, Clone)]
pub(crate) struct EvmPrecompiles {
    fork: EthPrecompiles,
    custom: Arc<[CustomPrecompile]>,
    warm: AddressSet,
}

impl EvmPrecompiles {
    pub(crate) fn new(spec: SpecId, custom: Arc<[CustomPrecompile]>) -> Self {
        let fork = EthPrecompiles::new(spec);
        let warm = warm(&fork, &custom);
        Self { fork, custom, warm }
    }

    /// Whether there is a precompile at this address.
    pub(crate) fn contains(&self, address: &Address) -> bool {
        self.warm.contains(address)
    }
}

fn warm(fork: &EthPrecompiles, custom: &[CustomPrecompile]) -> AddressSet {
    let mut warm = fork.warm_addresses().clone();
    warm.extend(custom.iter().map(|precompile| precompile.address));
    warm
}

impl<C: ContextTr> PrecompileProvider<C> for EvmPrecompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, spec: <C::Cfg as Cfg>::Spec) -> bool {
        let is_new = <EthPrecompiles as PrecompileProvider<C>>::set_spec(&mut self.fork, spec);
        if is_new {
            self.warm = warm(&self.fork, &self.custom);
        }
        is_new
    }

    fn run(&mut self, context: &mut C, inputs: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        let custom = self.custom.iter().find(|precompile| precompile.address == inputs.bytecode_address);
        let Some(custom) = custom else { return self.fork.run(context, inputs) };
        let input = inputs.input.bytes(context);
        let output =
            (custom.run)(&input, inputs.gas_limit, inputs.reservoir).map_err(|error| error.to_string())?;
        Ok(Some(precompile_output_to_interpreter_result(output, inputs.gas_limit)))
    }

    fn warm_addresses(&self) -> &AddressSet {
        &self.warm
    }
}
