//! Control-group limits, from file contents and from directories shaped like the kernel's.

#[path = "common/seeded.rs"]
mod seeded;

use citius_topology::{
    CpuId, Limits, NumaId,
    cgroup::{
        CgroupLimits, Membership, directories, parse_cfs_quota, parse_cpu_max, parse_memberships,
        parse_memory_limit, parse_mounts,
    },
};
use proptest::prelude::*;
use seeded::seeded;
use std::{fs, path::PathBuf};

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
fn cpu_max_is_a_share_of_cores_or_none() {
    assert_eq!(parse_cpu_max("250000 100000\n"), Some(2500));
    assert_eq!(parse_cpu_max("max 100000\n"), None);
    assert_eq!(parse_cpu_max("50000\n"), Some(500), "the period's default is 100 ms");
    for text in ["", "x y", "1 0", "-1 100000", "18446744073709551615 1"] {
        assert_eq!(parse_cpu_max(text), None, "{text:?}");
    }
}

#[test]
fn a_negative_cfs_quota_is_none() {
    assert_eq!(parse_cfs_quota("150000\n", "50000\n"), Some(3000));
    assert_eq!(parse_cfs_quota("-1\n", "100000\n"), None);
    assert_eq!(parse_cfs_quota("1", "0"), None);
}

#[test]
fn memory_limits_know_both_spellings_of_none() {
    assert_eq!(parse_memory_limit("1073741824\n"), Some(1 << 30));
    assert_eq!(parse_memory_limit("max\n"), None);
    assert_eq!(parse_memory_limit("9223372036854771712\n"), None);
    assert_eq!(parse_memory_limit(""), None);
}

#[test]
fn a_path_with_colons_is_one_path() {
    let memberships = parse_memberships("4:cpuacct,cpu:/a:b\n0::/user.slice\n");
    let first = Membership { controllers: vec!["cpu".into(), "cpuacct".into()], path: "/a:b".into() };
    let second = Membership { controllers: vec![], path: "/user.slice".into() };
    assert_eq!(memberships, [first, second]);
}

#[test]
fn only_cgroup_mounts_count_and_flags_are_no_controllers() {
    let text = "23 28 0:22 / /sys rw - sysfs sysfs rw\n\
                32 31 0:29 / /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup rw,xattr,cpu,cpuacct\n\
                41 31 0:38 /docker/1 /mnt/a\\040b rw - cgroup2 cgroup2 rw,nsdelegate\n";
    let mounts = parse_mounts(text);
    assert_eq!(mounts.len(), 2);
    assert_eq!(mounts[0].controllers, ["cpu", "cpuacct"]);
    assert!(!mounts[0].unified && mounts[1].unified);
    assert_eq!((mounts[1].root.as_str(), mounts[1].point.as_path()), ("/docker/1", "/mnt/a b".as_ref()));
}

#[test]
fn groups_are_walked_up_to_the_mount() {
    let mount = &parse_mounts("1 1 0:1 /docker /cg rw - cgroup2 c rw")[0];
    let at = |path: &str| directories(mount, &Membership { controllers: vec![], path: path.into() });
    assert_eq!(at("/docker/1/a"), ["/cg/1/a", "/cg/1", "/cg/"].map(PathBuf::from));
    assert_eq!(at("/elsewhere"), [PathBuf::from("/cg/")], "a group outside the mount is the mount itself");
    assert_eq!(at("/docker/../../etc"), [PathBuf::from("/cg/")]);
}

#[test]
fn v2_limits_are_the_tightest_on_the_way_up() {
    let root = root_with(&[
        ("proc/self/cgroup", "0::/a/b\n"),
        ("proc/self/mountinfo", "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/a/cpu.max", "400000 100000\n"),
        ("sys/fs/cgroup/a/b/memory.max", "8589934592\n"),
        ("sys/fs/cgroup/a/memory.max", "4294967296\n"),
        ("sys/fs/cgroup/a/b/cpuset.cpus", "\n"),
        ("sys/fs/cgroup/a/b/cpuset.cpus.effective", "2-5\n"),
        ("sys/fs/cgroup/a/cpuset.cpus.effective", "0-7\n"),
        ("sys/fs/cgroup/a/b/cpuset.mems.effective", "1\n"),
    ]);
    let limits = CgroupLimits::read(root.path());
    assert_eq!(limits.cpu_quota_millicores, Some(4000));
    assert_eq!(limits.memory_bytes, Some(4 << 30));
    assert_eq!(limits.cpus, Some([2, 3, 4, 5].map(CpuId).to_vec()));
    assert_eq!(limits.numa_nodes, Some(vec![NumaId(1)]));
}

#[test]
fn a_throttling_memory_high_counts_as_a_limit() {
    let root = root_with(&[
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/memory.max", "max\n"),
        ("sys/fs/cgroup/memory.high", "1073741824\n"),
    ]);
    assert_eq!(CgroupLimits::read(root.path()).memory_bytes, Some(1 << 30));
}

#[test]
fn v1_limits_are_read_from_each_hierarchy() {
    let root = root_with(&[
        ("proc/self/cgroup", "4:memory:/docker/1\n3:cpuset:/docker/1\n2:cpu,cpuacct:/docker/1\n"),
        (
            "proc/self/mountinfo",
            "1 1 0:1 / /cg/cpu rw - cgroup cgroup rw,cpuacct,cpu\n\
             2 1 0:2 / /cg/cpuset rw - cgroup cgroup rw,cpuset\n\
             3 1 0:3 /docker/1 /cg/memory rw - cgroup cgroup rw,memory\n",
        ),
        ("cg/cpu/docker/1/cpu.cfs_quota_us", "150000\n"),
        ("cg/cpu/docker/1/cpu.cfs_period_us", "100000\n"),
        ("cg/cpu/cpu.cfs_quota_us", "-1\n"),
        ("cg/cpuset/docker/1/cpuset.cpus", "0,4\n"),
        ("cg/memory/memory.limit_in_bytes", "2147483648\n"),
    ]);
    let limits = CgroupLimits::read(root.path());
    assert_eq!(limits.cpu_quota_millicores, Some(1500));
    assert_eq!(limits.cpus, Some([0, 4].map(CpuId).to_vec()));
    assert_eq!((limits.memory_bytes, limits.numa_nodes), (Some(2 << 30), None));
}

#[test]
fn without_files_nothing_is_limited() {
    assert_eq!(CgroupLimits::read(root_with(&[]).path()), CgroupLimits::default());
}

#[test]
fn mask_and_cpuset_are_intersected() {
    let cpus = |list: &[u32]| Some(list.iter().copied().map(CpuId).collect::<Vec<_>>());
    let cgroup = CgroupLimits { cpus: cpus(&[1, 2, 3]), ..CgroupLimits::default() };
    assert_eq!(Limits::combine(cpus(&[0, 1, 2]), cgroup.clone()).cpus, cpus(&[1, 2]));
    assert_eq!(Limits::combine(None, cgroup).cpus, cpus(&[1, 2, 3]));
    assert_eq!(Limits::combine(None, CgroupLimits::default()), Limits::default());
}

proptest! {
    #![proptest_config(seeded(256))]

    #[test]
    fn no_file_content_panics(text in "(?s).{0,120}", other in "[0-9 :,/\\-a-z\n]{0,120}") {
        for text in [&text, &other] {
            parse_cpu_max(text);
            parse_cfs_quota(text, text);
            parse_memory_limit(text);
            citius_topology::cpu_list::parse(text);
            for mount in parse_mounts(text) {
                for membership in parse_memberships(text) {
                    directories(&mount, &membership);
                }
            }
        }
    }
}
