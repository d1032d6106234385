//! Accelerators and disks, from the names under `/dev` and `/sys`: cheap, and without any driver library.

use serde::Serialize;
use std::{fs, path::Path};

/// PCI vendor of Xilinx, whose driver gives FPGA cards a render node that would pass for a GPU.
const XILINX_VENDOR: &str = "0x10ee";

/// `/sys/block/*/size` counts in these, whatever the disk's own block is.
const SECTOR_BYTES: u64 = 512;

/// What a machine has beside cores and memory. The default is none, as described machines have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Devices {
    /// GPUs that a process here can open.
    pub gpus_count: u32,
    /// FPGA cards that a process here can open.
    pub fpgas_count: u32,
    /// Capacity of all disks together, in bytes; `None` where none are visible, so that nothing is known.
    pub disks_capacity_bytes: Option<u64>,
}

impl Devices {
    /// Looks under `root` (`/`, or a directory of a test). A card without a device node, as in a container that was
    /// not given it, does not count.
    pub fn scan(root: &Path) -> Self {
        Self {
            gpus_count: gpus_count(root),
            fpgas_count: fpgas_count(&names(&root.join("dev"))),
            disks_capacity_bytes: disks_capacity_bytes(root),
        }
    }
}

/// One GPU shows as `nvidiaN`, as `dri/renderDN`, or as both, so the larger count stands. `kfd` (AMD compute) and
/// `dxg` (WSL) exist once for all GPUs behind them.
fn gpus_count(root: &Path) -> u32 {
    let dev = names(&root.join("dev"));
    let nvidia = dev.iter().filter(|name| is_numbered(name, "nvidia")).count();
    let render = names(&root.join("dev/dri"))
        .iter()
        .filter(|name| is_numbered(name, "renderD"))
        .filter(|name| {
            let vendor = root.join("sys/class/drm").join(name).join("device/vendor");
            fs::read_to_string(vendor).map_or(true, |vendor| vendor.trim() != XILINX_VENDOR)
        })
        .count();
    let compute = dev.iter().filter(|name| *name == "kfd" || *name == "dxg").count().min(1);
    count(nvidia.max(render).max(compute))
}

/// Xilinx cards have one management node each (`xclmgmtN`, or `xrt/<address>/mgmt`, not looked at); Intel cards
/// one `intel-fpga-fme.N` or, with the in-tree driver, `dfl-fme.N`.
fn fpgas_count(dev: &[String]) -> u32 {
    let of = |prefix: &str| dev.iter().filter(|name| is_numbered(name, prefix)).count();
    count(of("xclmgmt") + of("intel-fpga-fme.") + of("dfl-fme."))
}

/// Disks have a `device` link; loop, RAM and mapped devices, which would count twice, have none.
fn disks_capacity_bytes(root: &Path) -> Option<u64> {
    let block = root.join("sys/block");
    let sizes: Vec<u64> = names(&block)
        .iter()
        .map(|name| block.join(name))
        .filter(|disk| disk.join("device").exists())
        .filter_map(|disk| fs::read_to_string(disk.join("size")).ok()?.trim().parse::<u64>().ok())
        .collect();
    let sectors = sizes.into_iter().fold(0_u64, u64::saturating_add);
    (sectors > 0).then(|| sectors.saturating_mul(SECTOR_BYTES))
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|tail| !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit()))
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn count(found: usize) -> u32 {
    u32::try_from(found).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_gpu_with_two_kinds_of_node_counts_once() {
        let root = root_with(&[
            ("dev/nvidia0", ""),
            ("dev/nvidiactl", ""),
            ("dev/dri/renderD128", ""),
            ("dev/dri/card0", ""),
        ]);
        assert_eq!(Devices::scan(root.path()).gpus_count, 1);
    }

    #[test]
    fn an_fpga_is_not_taken_for_a_gpu() {
        let root = root_with(&[
            ("dev/xclmgmt256", ""),
            ("dev/dri/renderD128", ""),
            ("sys/class/drm/renderD128/device/vendor", "0x10ee\n"),
        ]);
        let devices = Devices::scan(root.path());
        assert_eq!((devices.gpus_count, devices.fpgas_count), (0, 1));
    }

    #[test]
    fn disks_add_up_and_loop_devices_do_not() {
        let root = root_with(&[
            ("sys/block/nvme0n1/size", "2000\n"),
            ("sys/block/nvme0n1/device/model", ""),
            ("sys/block/sda/size", "1000\n"),
            ("sys/block/sda/device/model", ""),
            ("sys/block/loop0/size", "9000\n"),
        ]);
        assert_eq!(Devices::scan(root.path()).disks_capacity_bytes, Some(3000 * 512));
    }

    #[test]
    fn a_bare_root_has_no_devices() {
        assert_eq!(Devices::scan(root_with(&[]).path()), Devices::default());
    }
}
