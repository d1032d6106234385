// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Reads and computes much and stores little, as verifiers and settlements of rollups do.
contract Prover {
    uint256 private constant MODULUS = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant KEYS = 4096;
    uint256 private constant TURNS = 7;

    /// Never written, so all are zero.
    mapping(uint256 => uint256) public keys;
    mapping(address => uint256) public latest;

    event Proven(address indexed by, uint256 result);

    /// Mixes the caller's latest result with `seed` and with a key that the mixture chooses, `rounds` times.
    function prove(uint256 seed, uint256 rounds) external {
        uint256 state = latest[msg.sender];
        for (uint256 round = 0; round < rounds; ++round) {
            uint256 key = keys[state % KEYS];
            for (uint256 turn = 0; turn < TURNS; ++turn) {
                uint256 hash = uint256(keccak256(abi.encode(state, seed, key)));
                state = addmod(mulmod(hash, hash, MODULUS), turn, MODULUS);
            }
        }
        latest[msg.sender] = state;
        emit Proven(msg.sender, state);
    }
}
