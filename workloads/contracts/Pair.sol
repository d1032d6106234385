// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Token} from "./Token.sol";

/// Constant-product market of two tokens with a fee of 0.3 % (https://uniswap.org/whitepaper.pdf).
///
/// Swaps only: the genesis state places tokens and reserves, so liquidity is never added or taken, and there are
/// neither flash swaps nor price accumulators.
contract Pair {
    address public token0;
    address public token1;
    uint112 private reserve0;
    uint112 private reserve1;
    uint256 private unlocked;

    event Swap(address indexed sender, uint256 in0, uint256 in1, uint256 out0, uint256 out1, address indexed to);
    event Sync(uint112 reserve0, uint112 reserve1);

    error Locked();
    error NoOutput();
    error NoInput();
    error InsufficientLiquidity(uint256 out0, uint256 out1);
    error ProductShrank();
    error ReserveOverflow();

    modifier lock() {
        if (unlocked != 1) revert Locked();
        unlocked = 2;
        _;
        unlocked = 1;
    }

    function getReserves() external view returns (uint112, uint112) {
        return (reserve0, reserve1);
    }

    /// Pays out against what was sent here beforehand.
    function swap(uint256 out0, uint256 out1, address to) external lock {
        if (out0 == 0 && out1 == 0) revert NoOutput();
        (uint256 before0, uint256 before1) = (reserve0, reserve1);
        if (out0 >= before0 || out1 >= before1) revert InsufficientLiquidity(out0, out1);
        if (out0 > 0) Token(token0).transfer(to, out0);
        if (out1 > 0) Token(token1).transfer(to, out1);

        uint256 after0 = Token(token0).balanceOf(address(this));
        uint256 after1 = Token(token1).balanceOf(address(this));
        uint256 in0 = after0 > before0 - out0 ? after0 - (before0 - out0) : 0;
        uint256 in1 = after1 > before1 - out1 ? after1 - (before1 - out1) : 0;
        if (in0 == 0 && in1 == 0) revert NoInput();
        if (after0 > type(uint112).max || after1 > type(uint112).max) revert ReserveOverflow();
        if ((after0 * 1000 - in0 * 3) * (after1 * 1000 - in1 * 3) < before0 * before1 * 1_000_000) {
            revert ProductShrank();
        }

        reserve0 = uint112(after0);
        reserve1 = uint112(after1);
        emit Sync(uint112(after0), uint112(after1));
        emit Swap(msg.sender, in0, in1, out0, out1, to);
    }
}
