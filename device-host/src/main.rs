//! The `citius-device-host` binary: see the library for what it does.

use citius_device_host::{apis, compile::compile, serve, with_causes};
use serde_json::json;
use std::{
    env,
    error::Error,
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    path::Path,
    process::ExitCode,
};

const USAGE: &str = "\
usage: citius-device-host list
       citius-device-host compile DEVICE FOLDER
       citius-device-host serve

Runs the drivers of GPUs and OpenCL devices for Citius, in a process of their own.

  list      prints the devices found, as JSON; without any driver that can take ten seconds
  compile   lets the driver of the OpenCL device DEVICE (an id from `list`) compile the FPGA kernel, and writes the
            program and its manifest to FOLDER; for real FPGAs see device-host/fpga/build.sh
  serve     is what citius starts: takes commands over the standard input, a socket";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["list"] => list(),
        ["compile", device, folder] => compile(device, Path::new(folder))
            .map(|program| println!("{}\n{}", program.path.display(), program.manifest_path.display()))
            .map_err(Into::into),
        ["serve"] => run(),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("citius-device-host: {}", with_causes(error.as_ref()));
    ExitCode::FAILURE
}

fn list() -> Result<(), Box<dyn Error>> {
    let devices: Vec<_> = apis()
        .iter()
        .flat_map(|api| api.list())
        .map(|device| {
            let kernels: Vec<&str> = device.kernels.iter().map(|kernel| kernel.name()).collect();
            json!({
                "id": device.id,
                "api": device.api,
                "name": device.name,
                "driver": device.driver,
                "class": device.class.to_string(),
                "kernels": kernels,
            })
        })
        .collect();
    println!("{:#}", json!(devices));
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    if io::stdin().is_terminal() {
        return Err("serve is started by citius, with a socket as its standard input".into());
    }
    // The socket under a number that programs started by drivers (compilers, linkers) do not inherit: one that
    // outlived this process would keep the conversation open.
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    serve(apis(), socket)?;
    Ok(())
}
