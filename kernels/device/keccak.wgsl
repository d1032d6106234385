// Keccak-256, one message an invocation. A lane is a vector of its low and its high 32 bits, since WGSL has no
// 64-bit integers (keccak_int64.wgsl is for devices that have). The buffers are described in kernels/src/device/mod.rs.

alias Lane = vec2<u32>;

// One message: where it begins, in 8-byte words of the arena, and its length in bytes.
struct Message {
    start_words: u32,
    length_bytes: u32,
}

struct Parameters {
    // How many messages there are.
    count: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
    // The round constants, two to a vector, each as its low and high half. Not a constant of this file: drivers
    // copy an array that is indexed at run time into every invocation.
    round_constants: array<vec4<u32>, 12>,
}

@group(0) @binding(0) var<storage, read> arena: array<Lane>;
@group(0) @binding(1) var<storage, read> messages: array<Message>;
@group(0) @binding(2) var<storage, read_write> digests: array<Lane>;
@group(0) @binding(3) var<uniform> parameters: Parameters;

const RATE_WORDS: u32 = 17u;

// Rotates by 1 to 31 bits; by 32 more if the halves come swapped.
fn rotl(lane: vec2<u32>, bits: u32) -> vec2<u32> {
    return (lane << vec2<u32>(bits)) | (lane.yx >> vec2<u32>(32u - bits));
}

// The lowest `bytes` bytes of a half (0 to 4), then the padding's first bit; of 4 bytes all is kept.
fn padded_half(half: u32, bytes: u32) -> u32 {
    if bytes >= 4u {
        return half;
    }
    let first_padding_bit = 1u << (bytes * 8u);
    return (half & (first_padding_bit - 1u)) | first_padding_bit;
}

// Word `index` of the padded message, but for the padding's last bit, which is the last word's of its block.
fn padded(message: Message, index: u32) -> vec2<u32> {
    let whole = message.length_bytes / 8u;
    if index < whole {
        return arena[message.start_words + index];
    }
    if index > whole {
        return vec2<u32>(0u);
    }
    let rest = message.length_bytes % 8u;
    var tail = vec2<u32>(0u);
    if rest != 0u {
        tail = arena[message.start_words + index];
    }
    if rest < 4u {
        return vec2<u32>(padded_half(tail.x, rest), 0u);
    }
    return vec2<u32>(tail.x, padded_half(tail.y, rest - 4u));
}

@compute @workgroup_size(64)
fn keccak256(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let index = invocation.x;
    if index >= parameters.count {
        return;
    }
    let message = messages[index];
    let blocks = message.length_bytes / 136u + 1u;
    var a0: Lane; var a1: Lane; var a2: Lane; var a3: Lane; var a4: Lane;
    var a5: Lane; var a6: Lane; var a7: Lane; var a8: Lane; var a9: Lane;
    var a10: Lane; var a11: Lane; var a12: Lane; var a13: Lane; var a14: Lane;
    var a15: Lane; var a16: Lane; var a17: Lane; var a18: Lane; var a19: Lane;
    var a20: Lane; var a21: Lane; var a22: Lane; var a23: Lane; var a24: Lane;
    for (var block = 0u; block < blocks; block++) {
        let at = block * RATE_WORDS;
        a0 ^= padded(message, at + 0u);
        a1 ^= padded(message, at + 1u);
        a2 ^= padded(message, at + 2u);
        a3 ^= padded(message, at + 3u);
        a4 ^= padded(message, at + 4u);
        a5 ^= padded(message, at + 5u);
        a6 ^= padded(message, at + 6u);
        a7 ^= padded(message, at + 7u);
        a8 ^= padded(message, at + 8u);
        a9 ^= padded(message, at + 9u);
        a10 ^= padded(message, at + 10u);
        a11 ^= padded(message, at + 11u);
        a12 ^= padded(message, at + 12u);
        a13 ^= padded(message, at + 13u);
        a14 ^= padded(message, at + 14u);
        a15 ^= padded(message, at + 15u);
        a16 ^= padded(message, at + 16u);
        if block + 1u == blocks {
            a16 ^= vec2<u32>(0u, 0x80000000u);
        }
        for (var round = 0u; round < 24u; round++) {
            // Theta.
            let c0 = a0 ^ a5 ^ a10 ^ a15 ^ a20;
            let c1 = a1 ^ a6 ^ a11 ^ a16 ^ a21;
            let c2 = a2 ^ a7 ^ a12 ^ a17 ^ a22;
            let c3 = a3 ^ a8 ^ a13 ^ a18 ^ a23;
            let c4 = a4 ^ a9 ^ a14 ^ a19 ^ a24;
            let d0 = c4 ^ rotl(c1, 1u);
            let d1 = c0 ^ rotl(c2, 1u);
            let d2 = c1 ^ rotl(c3, 1u);
            let d3 = c2 ^ rotl(c4, 1u);
            let d4 = c3 ^ rotl(c0, 1u);
            a0 ^= d0; a5 ^= d0; a10 ^= d0; a15 ^= d0; a20 ^= d0;
            a1 ^= d1; a6 ^= d1; a11 ^= d1; a16 ^= d1; a21 ^= d1;
            a2 ^= d2; a7 ^= d2; a12 ^= d2; a17 ^= d2; a22 ^= d2;
            a3 ^= d3; a8 ^= d3; a13 ^= d3; a18 ^= d3; a23 ^= d3;
            a4 ^= d4; a9 ^= d4; a14 ^= d4; a19 ^= d4; a24 ^= d4;
            // Rho and pi: each lane moves to the next place of one cycle over 24 of the 25.
            var moved = a1;
            var next = a10;
            a10 = rotl(moved, 1u);
            moved = next; next = a7; a7 = rotl(moved, 3u);
            moved = next; next = a11; a11 = rotl(moved, 6u);
            moved = next; next = a17; a17 = rotl(moved, 10u);
            moved = next; next = a18; a18 = rotl(moved, 15u);
            moved = next; next = a3; a3 = rotl(moved, 21u);
            moved = next; next = a5; a5 = rotl(moved, 28u);
            moved = next; next = a16; a16 = rotl(moved.yx, 4u);
            moved = next; next = a8; a8 = rotl(moved.yx, 13u);
            moved = next; next = a21; a21 = rotl(moved.yx, 23u);
            moved = next; next = a24; a24 = rotl(moved, 2u);
            moved = next; next = a4; a4 = rotl(moved, 14u);
            moved = next; next = a15; a15 = rotl(moved, 27u);
            moved = next; next = a23; a23 = rotl(moved.yx, 9u);
            moved = next; next = a19; a19 = rotl(moved.yx, 24u);
            moved = next; next = a13; a13 = rotl(moved, 8u);
            moved = next; next = a12; a12 = rotl(moved, 25u);
            moved = next; next = a2; a2 = rotl(moved.yx, 11u);
            moved = next; next = a20; a20 = rotl(moved.yx, 30u);
            moved = next; next = a14; a14 = rotl(moved, 18u);
            moved = next; next = a22; a22 = rotl(moved.yx, 7u);
            moved = next; next = a9; a9 = rotl(moved.yx, 29u);
            moved = next; next = a6; a6 = rotl(moved, 20u);
            a1 = rotl(next.yx, 12u);
            // Chi, row by row.
            let row0_0 = a0; let row0_1 = a1;
            a0 ^= ~a1 & a2; a1 ^= ~a2 & a3; a2 ^= ~a3 & a4;
            a3 ^= ~a4 & row0_0; a4 ^= ~row0_0 & row0_1;
            let row1_0 = a5; let row1_1 = a6;
            a5 ^= ~a6 & a7; a6 ^= ~a7 & a8; a7 ^= ~a8 & a9;
            a8 ^= ~a9 & row1_0; a9 ^= ~row1_0 & row1_1;
            let row2_0 = a10; let row2_1 = a11;
            a10 ^= ~a11 & a12; a11 ^= ~a12 & a13; a12 ^= ~a13 & a14;
            a13 ^= ~a14 & row2_0; a14 ^= ~row2_0 & row2_1;
            let row3_0 = a15; let row3_1 = a16;
            a15 ^= ~a16 & a17; a16 ^= ~a17 & a18; a17 ^= ~a18 & a19;
            a18 ^= ~a19 & row3_0; a19 ^= ~row3_0 & row3_1;
            let row4_0 = a20; let row4_1 = a21;
            a20 ^= ~a21 & a22; a21 ^= ~a22 & a23; a22 ^= ~a23 & a24;
            a23 ^= ~a24 & row4_0; a24 ^= ~row4_0 & row4_1;
            // Iota.
            let constants = parameters.round_constants[round / 2u];
            let constant = select(constants.xy, constants.zw, (round & 1u) == 1u);
            a0 ^= constant;
        }
    }
    digests[index * 4u + 0u] = a0;
    digests[index * 4u + 1u] = a1;
    digests[index * 4u + 2u] = a2;
    digests[index * 4u + 3u] = a3;
}
