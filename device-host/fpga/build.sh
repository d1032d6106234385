#!/usr/bin/env bash
# Lets a vendor's compiler turn the FPGA kernel into a program; `build.sh --help` tells the rest.
#
# UNTESTED with real compilers: none runs where Citius is built and tested. What is tested is --dry-run, the manifest
# and the profile's lines (with a compiler that only copies), and the kernel itself, on two OpenCL runtimes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$here/../../kernels/device/keccak_fpga.cl

usage() {
    cat <<'TEXT'
usage: device-host/fpga/build.sh --vendor intel|amd --board BOARD --device NAME [OPTION...]

Compiles kernels/device/keccak_fpga.cl for a card, which takes hours, and writes into the output folder:

  keccak_fpga.aocx or keccak_fpga.xclbin   the program
  keccak_fpga.toml                         its manifest: SHA-256, source, device, compiler
  profile.toml                             the lines for [devices] of the machine's hardware profile

  --vendor VENDOR   intel: `aoc` of the Intel FPGA SDK for OpenCL; amd: `v++` of Vitis 2020.1 to 2022.2, the
                    last with kernels in OpenCL C
  --board BOARD     intel: a board of `aoc -list-boards`; amd: a platform of `platforminfo --list`, or a .xpfm
  --device NAME     the card's name as `citius-device-host list` prints it: the program is given to no other
  --out FOLDER      where to write (build/fpga)
  --streams N       messages in flight, a power of two of at least the pipeline's depth (128)
  --rounds N        rounds in space, 24 or a divisor of 24: fewer take less area and more time (24)
  --compiler PATH   the compiler, where it is not on PATH as aoc or v++
  --dry-run         prints the compiler's commands and runs none
  --help            this text

UNTESTED with real compilers: read what --dry-run prints, and the compiler's report (loops should start a turn each
cycle: II=1). `citius-device-host` tests a program on known digests before it is used.
TEXT
}

die() {
    printf 'build.sh: error: %s\n' "$@" >&2
    exit 2
}

vendor='' board='' device='' out=build/fpga streams=128 rounds=24 compiler='' dry_run=false
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry_run=true ;;
        --help | -h)
            usage
            exit
            ;;
        --vendor | --board | --device | --out | --streams | --rounds | --compiler)
            [ $# -ge 2 ] || die "$1: expected a value"
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        *)
            usage >&2
            die "unknown argument '$1'"
            ;;
    esac
    shift
done
[ -n "$board" ] || die "--board = nothing: expected a board or platform"
# It stands between quotation marks in TOML.
[[ -n $device && $device != *[\"\\]* ]] || die "--device = '$device': expected a name without \" and \\"
[[ $streams =~ ^[1-9][0-9]*$ && $((streams & (streams - 1))) -eq 0 ]] ||
    die "--streams = '$streams': expected a power of two"
[[ $rounds =~ ^[1-9][0-9]*$ && $((24 % rounds)) -eq 0 ]] || die "--rounds = '$rounds': expected 24 or a divisor"
case $vendor in
    intel) compiler=${compiler:-aoc} program=keccak_fpga.aocx ;;
    amd) compiler=${compiler:-v++} program=keccak_fpga.xclbin ;;
    *) die "--vendor = '$vendor': expected intel or amd" ;;
esac

run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    $dry_run || "$@"
}

compile() {
    local defines=("-DSTREAMS=$streams" "-DROUNDS_UNROLLED=$rounds")
    case $vendor in
        intel)
            run "$compiler" "${defines[@]}" "-board=$board" "$source" -o "$out/$program"
            ;;
        amd)
            run "$compiler" -c -t hw --platform "$board" -k keccak256 "${defines[@]}" "$source" -o "$out/keccak_fpga.xo"
            run "$compiler" -l -t hw --platform "$board" "$out/keccak_fpga.xo" -o "$out/$program"
            ;;
    esac
}

sha256() { sha256sum "$1" | cut -d ' ' -f 1; }

# The compiler's first line that names a version, without what TOML would take for its own.
version() { { "$compiler" --version 2>&1 || true; } | grep -m 1 -iE 'version|[0-9]+\.[0-9]' | tr -d '"\\\r' || echo "$compiler"; }

$dry_run || command -v "$compiler" >/dev/null || die "no compiler '$compiler': expected it on PATH, or --compiler PATH"
$dry_run || mkdir -p "$out"
compile
if $dry_run; then exit; fi
[ -s "$out/$program" ] || die "the compiler wrote no $out/$program"

cat >"$out/keccak_fpga.toml" <<TOML
program = "$program"
program_sha256 = "$(sha256 "$out/$program")"
kernel = "fpga"
kernel_source_sha256 = "$(sha256 "$source")"
device = "$device"
vendor = "$vendor"
compiler = "$(version)"
TOML
out=$(cd "$out" && pwd)
cat >"$out/profile.toml" <<TOML
fpga_program_path = "$out/$program"
fpga_manifest_path = "$out/keccak_fpga.toml"
TOML
printf 'written to %s; for [devices] of the profile:\n' "$out"
cat "$out/profile.toml"
