/* Keccak-256, one message a work-item. OpenCL 1.2; the buffers are described in kernels/src/device/mod.rs. */

#define LANES ulong

/* FIPS 202, section 3.2.5: iota's constants. */
__constant ulong ROUND_CONSTANTS[24] = {
    0x0000000000000001UL, 0x0000000000008082UL, 0x800000000000808aUL,
    0x8000000080008000UL, 0x000000000000808bUL, 0x0000000080000001UL,
    0x8000000080008081UL, 0x8000000000008009UL, 0x000000000000008aUL,
    0x0000000000000088UL, 0x0000000080008009UL, 0x000000008000000aUL,
    0x000000008000808bUL, 0x800000000000008bUL, 0x8000000000008089UL,
    0x8000000000008003UL, 0x8000000000008002UL, 0x8000000000000080UL,
    0x000000000000800aUL, 0x800000008000000aUL, 0x8000000080008081UL,
    0x8000000000008080UL, 0x0000000080000001UL, 0x8000000080008008UL,
};

/* One round on the lanes a0 to a24 in scope (lane x of row y is a[x + 5y]). */
#define ROTL(lane, bits) rotate((lane), (LANES)(bits))
#define CHI(v, w, x, y, z) { LANES v0 = v, w0 = w; v ^= ~w & x; w ^= ~x & y; x ^= ~y & z; y ^= ~z & v0; z ^= ~v0 & w0; }
#define ROUND(constant) {                                                                                    \
    LANES c0 = a0 ^ a5 ^ a10 ^ a15 ^ a20;                                                                    \
    LANES c1 = a1 ^ a6 ^ a11 ^ a16 ^ a21;                                                                    \
    LANES c2 = a2 ^ a7 ^ a12 ^ a17 ^ a22;                                                                    \
    LANES c3 = a3 ^ a8 ^ a13 ^ a18 ^ a23;                                                                    \
    LANES c4 = a4 ^ a9 ^ a14 ^ a19 ^ a24;                                                                    \
    LANES d0 = c4 ^ ROTL(c1, 1);                                                                             \
    LANES d1 = c0 ^ ROTL(c2, 1);                                                                             \
    LANES d2 = c1 ^ ROTL(c3, 1);                                                                             \
    LANES d3 = c2 ^ ROTL(c4, 1);                                                                             \
    LANES d4 = c3 ^ ROTL(c0, 1);                                                                             \
    a0 ^= d0; a5 ^= d0; a10 ^= d0; a15 ^= d0; a20 ^= d0;                                                     \
    a1 ^= d1; a6 ^= d1; a11 ^= d1; a16 ^= d1; a21 ^= d1;                                                     \
    a2 ^= d2; a7 ^= d2; a12 ^= d2; a17 ^= d2; a22 ^= d2;                                                     \
    a3 ^= d3; a8 ^= d3; a13 ^= d3; a18 ^= d3; a23 ^= d3;                                                     \
    a4 ^= d4; a9 ^= d4; a14 ^= d4; a19 ^= d4; a24 ^= d4;                                                     \
    LANES moved = a1, next = a10;                                                                            \
    a10 = ROTL(moved, 1);                                                                                    \
    moved = next; next = a7; a7 = ROTL(moved, 3);                                                            \
    moved = next; next = a11; a11 = ROTL(moved, 6);                                                          \
    moved = next; next = a17; a17 = ROTL(moved, 10);                                                         \
    moved = next; next = a18; a18 = ROTL(moved, 15);                                                         \
    moved = next; next = a3; a3 = ROTL(moved, 21);                                                           \
    moved = next; next = a5; a5 = ROTL(moved, 28);                                                           \
    moved = next; next = a16; a16 = ROTL(moved, 36);                                                         \
    moved = next; next = a8; a8 = ROTL(moved, 45);                                                           \
    moved = next; next = a21; a21 = ROTL(moved, 55);                                                         \
    moved = next; next = a24; a24 = ROTL(moved, 2);                                                          \
    moved = next; next = a4; a4 = ROTL(moved, 14);                                                           \
    moved = next; next = a15; a15 = ROTL(moved, 27);                                                         \
    moved = next; next = a23; a23 = ROTL(moved, 41);                                                         \
    moved = next; next = a19; a19 = ROTL(moved, 56);                                                         \
    moved = next; next = a13; a13 = ROTL(moved, 8);                                                          \
    moved = next; next = a12; a12 = ROTL(moved, 25);                                                         \
    moved = next; next = a2; a2 = ROTL(moved, 43);                                                           \
    moved = next; next = a20; a20 = ROTL(moved, 62);                                                         \
    moved = next; next = a14; a14 = ROTL(moved, 18);                                                         \
    moved = next; next = a22; a22 = ROTL(moved, 39);                                                         \
    moved = next; next = a9; a9 = ROTL(moved, 61);                                                           \
    moved = next; next = a6; a6 = ROTL(moved, 20);                                                           \
    a1 = ROTL(next, 44);                                                                                     \
    CHI(a0, a1, a2, a3, a4)                                                                                  \
    CHI(a5, a6, a7, a8, a9)                                                                                  \
    CHI(a10, a11, a12, a13, a14)                                                                             \
    CHI(a15, a16, a17, a18, a19)                                                                             \
    CHI(a20, a21, a22, a23, a24)                                                                             \
    a0 ^= constant;                                                                                          \
}

/* Word `index` of the padded message, but for the padding's last bit, which is the last word's of its block. */
inline ulong padded(__global const ulong *words, uint length_bytes, uint index) {
    uint whole = length_bytes / 8;
    if (index < whole) {
        return words[index];
    }
    if (index > whole) {
        return 0;
    }
    uint rest_bits = (length_bytes % 8) * 8;
    ulong first_padding_bit = 1UL << rest_bits;
    return rest_bits == 0 ? first_padding_bit : (words[index] & (first_padding_bit - 1)) | first_padding_bit;
}

__kernel void keccak256(
    __global const ulong *restrict arena,
    __global const uint2 *restrict messages,
    uint count,
    __global ulong *restrict digests
) {
    uint index = (uint)get_global_id(0);
    if (index >= count) {
        return;
    }
    __global const ulong *words = arena + messages[index].x;
    uint length_bytes = messages[index].y;
    uint blocks = length_bytes / 136 + 1;
    LANES a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0;
    LANES a5 = 0, a6 = 0, a7 = 0, a8 = 0, a9 = 0;
    LANES a10 = 0, a11 = 0, a12 = 0, a13 = 0, a14 = 0;
    LANES a15 = 0, a16 = 0, a17 = 0, a18 = 0, a19 = 0;
    LANES a20 = 0, a21 = 0, a22 = 0, a23 = 0, a24 = 0;
    for (uint block = 0; block < blocks; block++) {
        uint at = block * 17;
        a0 ^= padded(words, length_bytes, at + 0);
        a1 ^= padded(words, length_bytes, at + 1);
        a2 ^= padded(words, length_bytes, at + 2);
        a3 ^= padded(words, length_bytes, at + 3);
        a4 ^= padded(words, length_bytes, at + 4);
        a5 ^= padded(words, length_bytes, at + 5);
        a6 ^= padded(words, length_bytes, at + 6);
        a7 ^= padded(words, length_bytes, at + 7);
        a8 ^= padded(words, length_bytes, at + 8);
        a9 ^= padded(words, length_bytes, at + 9);
        a10 ^= padded(words, length_bytes, at + 10);
        a11 ^= padded(words, length_bytes, at + 11);
        a12 ^= padded(words, length_bytes, at + 12);
        a13 ^= padded(words, length_bytes, at + 13);
        a14 ^= padded(words, length_bytes, at + 14);
        a15 ^= padded(words, length_bytes, at + 15);
        a16 ^= padded(words, length_bytes, at + 16);
        if (block + 1 == blocks) {
            a16 ^= 0x8000000000000000UL;
        }
        for (uint round = 0; round < 24; round++) {
            ROUND(ROUND_CONSTANTS[round])
        }
    }
    digests[index * 4 + 0] = a0;
    digests[index * 4 + 1] = a1;
    digests[index * 4 + 2] = a2;
    digests[index * 4 + 3] = a3;
}
