//! Prints the tree of this machine, or of the synthetic one described by the arguments, and where the workers of
//! this machine really run.

use citius_topology::{
    MachineSource, ProfileSource, TopologyError, data_parallel_pool, pool_placement, resolve,
};

fn main() -> Result<(), TopologyError> {
    let description: Vec<String> = std::env::args().skip(1).collect();
    let machine = match description.is_empty() {
        true => MachineSource::ThisMachine,
        false => MachineSource::Synthetic(description.join(" ")),
    };
    let report = resolve(machine, ProfileSource::Pick)?;
    print!("{}", report.tree());
    if report.plan.bindable {
        for placement in pool_placement(&data_parallel_pool(&report.plan)?, &report.plan) {
            println!("worker {}: core {:?}, pages {:?}", placement.worker, placement.core, placement.pages);
        }
    }
    Ok(())
}
