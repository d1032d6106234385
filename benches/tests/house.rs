//! The rules of the house that no compiler keeps: who may import whom, what has one home, what no file may say.
//!
//! One test a rule, over `cargo metadata` or over the text of the files. Each names every place that breaks it. To
//! change a rule, change its table here; `docs/` and the manifests follow.

use cargo_metadata::{Dependency, DependencyKind, MetadataCommand, Package};
use std::{fs, path::Path};
use toml::{Table, Value};

/// Every room, highest first, with the rooms below it: those alone it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("node", &["workloads", "engine", "state", "hashing", "io", "kernels", "topology"]),
    ("workloads", &["engine", "state", "hashing", "io", "kernels", "topology"]),
    ("engine", &["state", "hashing", "io", "kernels", "topology"]),
    ("state", &["hashing", "io", "kernels", "topology"]),
    ("hashing", &["kernels", "topology"]),
    ("io", &["kernels", "topology"]),
    // A process of its own: `hashing` speaks to it over shared memory, nobody imports it.
    ("device-host", &["kernels"]),
    ("kernels", &[]),
    ("topology", &[]),
];

/// The package that may import every room and every crate: nothing stands on it.
const EXEMPT: &str = "benches";

/// Crates from outside that have one home, each with what begins with its name and a dash (`tokio-util`).
const HOMES: &[(&str, &str)] = &[
    ("anyhow", "node"),
    ("clap", "node"),
    ("core_affinity", "topology"),
    ("eyre", "node"),
    ("hwlocality", "topology"),
    ("ocl", "device-host"),
    ("opencl3", "device-host"),
    ("tokio", "node"),
    ("wgpu", "device-host"),
];

/// The rooms that are programs: they alone read the environment, and their arguments.
const READ_ENVIRONMENT: [&str; 2] = ["node", "device-host"];

/// The files that may hold `unsafe`, and what for.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("device-host/src/opencl.rs", "kernels and mappings of OpenCL"),
    ("engine/src/evm/codes.rs", "a copy of analysed code is analysed"),
    ("engine/src/evm/machine.rs", "a worker's machine moves between threads"),
    ("engine/src/parking/coroutine.rs", "an execution leaves its stack by what its coroutine gave it"),
    ("engine/src/parking/overflow.rs", "a handler of the signal for a stack overflow"),
    ("engine/src/parking/stacks.rs", "a test looks at what was used of a stack"),
    ("engine/src/scheduler/append_vec.rs", "the processor fetches what is written next"),
    ("engine/src/scheduler/once.rs", "a value that is set once, without waiting"),
    ("io/src/buffer.rs", "aligned memory that the kernel is told of"),
    ("io/src/uring/ring.rs", "memory that the kernel reads and writes while it is in flight"),
    ("kernels/src/avx2.rs", "instructions that not every processor has, unaligned loads"),
    ("kernels/src/avx512.rs", "instructions that not every processor has, unaligned and masked loads"),
    ("kernels/src/protocol/region.rs", "memory shared with the device host"),
    ("kernels/tests/bounds.rs", "pages that may not be read"),
    ("node/src/clock.rs", "the processor time of the process"),
    ("node/src/main.rs", "an option of the allocator"),
    ("state/src/trie/arena.rs", "the processor fetches what is walked next"),
    ("state/src/trie/region.rs", "chunks of memory that arenas share"),
    ("topology/src/sys.rs", "system calls that no crate in use covers"),
];

/// Folders of tools and build outputs, which git ignores.
const NOT_OURS: [&str; 4] = [".git", ".tools", "node_modules", "target"];

/// Folders at the root of one machine or another. (In parts, lest this file be found by its own rule.)
const MACHINE_FOLDERS: [&str; 4] =
    [concat!("/", "work"), concat!("/", "root"), concat!("/", "home"), concat!("/", "Users")];

/// Hosts of package registries and their mirrors: clients know where theirs is, and mirrors differ.
const REGISTRY_HOSTS: [&str; 7] = [
    concat!("deb.", "debian.org"),
    concat!("security.", "debian.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi", ".org"),
    concat!("registry.", "npmjs.org"),
];

#[test]
fn rooms_import_only_what_stands_below_them() {
    let mut broken = Vec::new();
    for package in packages() {
        let name = room(&package.name);
        if name == EXEMPT {
            continue;
        }
        let Some((_, below)) = ROOMS.iter().find(|(known, _)| *known == name) else {
            broken.push(format!("`{}` is no known room: give it its place in ROOMS", package.name));
            continue;
        };
        for dependency in shipped_dependencies(&package).filter(|dependency| dependency.path.is_some()) {
            let imported = room(&dependency.name);
            if !below.contains(&imported) {
                broken.push(format!(
                    "{name} imports {imported}, which does not stand below it; below it are: {below:?}"
                ));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn a_package_is_named_after_its_folder() {
    let mut broken = Vec::new();
    for package in packages() {
        let folder = package.manifest_path.parent().unwrap().file_name().unwrap();
        if package.name.as_str() != format!("citius-{folder}") {
            broken.push(format!("`{}` is in {folder}/: name it citius-{folder}", package.name));
        }
    }
    assert_none(&broken);
}

#[test]
fn crates_with_a_home_are_used_only_there() {
    let mut broken = Vec::new();
    for package in packages() {
        let name = room(&package.name);
        for dependency in shipped_dependencies(&package).filter(|_| name != EXEMPT) {
            let is_of = |family: &str| {
                dependency
                    .name
                    .strip_prefix(family)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            let home = HOMES.iter().find(|(family, _)| is_of(family)).map_or(name, |(_, home)| home);
            if home != name {
                broken.push(format!("{name} uses {}, whose home is {home}", dependency.name));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn only_programs_read_the_environment() {
    let mut broken = Vec::new();
    for (path, text) in rust_files() {
        let Some((folder, rest)) = path.split_once('/') else { continue };
        if READ_ENVIRONMENT.contains(&folder) || folder == EXEMPT || !rest.starts_with("src/") {
            continue;
        }
        for (line, code) in code_lines(&text) {
            // However it is imported, it is used as `env::` or renamed with `env as`; `env!()` reads at build time.
            let is_module = words(code).any(|(before, word, after)| {
                word == "env"
                    && (after.starts_with("::") || after.starts_with(" as "))
                    && (!before.ends_with("::") || before.ends_with("std::"))
            });
            if is_module {
                broken.push(format!("{path}:{line}: {}", code.trim()));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn unsafe_stands_only_in_the_files_listed() {
    let mut broken = Vec::new();
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        let Some((line, _)) =
            code_lines(&text).find(|(_, code)| words(code).any(|(_, word, _)| word == "unsafe"))
        else {
            continue;
        };
        if !UNSAFE_FILES.iter().any(|(listed, _)| *listed == path) {
            broken
                .push(format!("{path}:{line}: not on the list UNSAFE_FILES, which gives the reason of each"));
        }
        found.push(path);
    }
    for (listed, _) in UNSAFE_FILES {
        if !found.iter().any(|path| path == listed) {
            broken.push(format!("{listed} has no `unsafe` any more: take it off the list"));
        }
    }
    assert_none(&broken);
}

#[test]
fn manifests_take_versions_and_lints_from_the_workspace() {
    let is_inherited = |value: Option<&Value>| {
        value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
    };
    let mut broken = Vec::new();
    for package in packages() {
        let manifest: Table = fs::read_to_string(&package.manifest_path).unwrap().parse().unwrap();
        let folder = room(&package.name);
        if !is_inherited(manifest.get("lints")) {
            broken.push(format!("{folder}/Cargo.toml: [lints] is not `workspace = true`"));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !is_inherited(manifest["package"].get(key)) {
                broken.push(format!("{folder}/Cargo.toml: package.{key} is not `workspace = true`"));
            }
        }
        for (section, dependencies) in dependency_tables(&manifest) {
            for (name, _) in dependencies.iter().filter(|(_, value)| !is_inherited(Some(value))) {
                broken.push(format!("{folder}/Cargo.toml: {section}.{name} is not `workspace = true`"));
            }
        }
    }
    let root: Value =
        fs::read_to_string(house().join("Cargo.toml")).unwrap().parse::<Table>().unwrap().into();
    let lints = &root["workspace"]["lints"];
    for lint in [&lints["rust"]["unsafe_code"], &lints["clippy"]["undocumented_unsafe_blocks"]] {
        if lint.as_str() != Some("deny") {
            broken.push("Cargo.toml: unsafe_code or undocumented_unsafe_blocks is not denied".into());
        }
    }
    assert_none(&broken);
}

#[test]
fn no_file_builds_for_one_processor() {
    // A binary must run on the machine next door; what a processor can do is asked at run time.
    assert_none(&places(|path, line| !path.ends_with(".md") && line.contains(concat!("target", "-cpu"))));
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let is_name = |letter: char| letter.is_alphanumeric() || "_-".contains(letter);
    let has_path = |line: &str, folder: &str| {
        line.match_indices(folder).any(|(at, _)| {
            // Behind a name, a dot or a variable it is the middle of a longer path.
            !line[..at].ends_with(|before: char| is_name(before) || ".)}>]$*".contains(before))
                && !line[at + folder.len()..].starts_with(is_name)
        })
    };
    assert_none(&places(|_, line| MACHINE_FOLDERS.iter().any(|folder| has_path(line, folder))));
}

#[test]
fn no_file_names_a_registry_host() {
    let broken = places(|path, line| {
        let is_resolved = path.ends_with("package-lock.json") && line.contains("\"resolved\":");
        is_resolved || REGISTRY_HOSTS.iter().any(|host| line.contains(host))
    });
    assert_none(&broken);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = house().join(&path).parent().unwrap().to_owned();
        let mut is_code = false;
        for (index, line) in text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for target in targets.filter(|_| !is_code) {
                let file = target.split(['#', ' ']).next().unwrap_or_default();
                if !target.contains(':') && !folder.join(file).exists() {
                    broken.push(format!("{path}:{}: {target}", index + 1));
                }
            }
        }
    }
    assert_none(&broken);
}

fn house() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[track_caller]
fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The packages of the workspace; asks nothing of a registry.
fn packages() -> Vec<Package> {
    MetadataCommand::new()
        .manifest_path(house().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo describes the workspace")
        .packages
}

/// What is called `room` in the plan of the house is the package `citius-room`.
fn room(package: &str) -> &str {
    package.strip_prefix("citius-").unwrap_or(package)
}

/// All but dev-dependencies: tests may stand on anything.
fn shipped_dependencies(package: &Package) -> impl Iterator<Item = &Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development)
}

/// The tables of dependencies, those for some targets too, each with its name.
fn dependency_tables(manifest: &Table) -> Vec<(String, &Table)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let for_targets =
        targets.filter_map(|(target, value)| Some((format!("target.{target}."), value.as_table()?)));
    let mut tables = Vec::new();
    for (prefix, holder) in [(String::new(), manifest)].into_iter().chain(for_targets) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if let Some(table) = holder.get(kind).and_then(Value::as_table) {
                tables.push((format!("{prefix}{kind}"), table));
            }
        }
    }
    tables
}

/// `path:line: text` of every line that `is_broken(path, line)`, of the files that are text.
fn places(is_broken: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    for (path, text) in files() {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| is_broken(&path, line)) {
            let start: String = line.trim().chars().take(100).collect();
            places.push(format!("{path}:{}: {start}", index + 1));
        }
    }
    places
}

/// Every source file but this one, which holds the words it looks for.
fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs") && path != "benches/tests/house.rs")
}

/// Path, from the root, and text of every file that is text.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![house().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                files.push((relative(&entry.path()), text));
            }
        }
    }
    files.sort_unstable();
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(house()).unwrap().to_str().expect("paths are UTF-8").to_owned()
}

/// Number and text of each line, without its comment.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
}

/// Each identifier of `code`, with what stands before and after it.
fn words(code: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.split(move |letter| !is_part(letter)).filter(|word| !word.is_empty()).map(move |word| {
        let start = word.as_ptr().addr() - code.as_ptr().addr();
        (&code[..start], word, &code[start + word.len()..])
    })
}
