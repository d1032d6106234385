// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Pair} from "./Pair.sol";
import {Token} from "./Token.sol";

/// Swaps along a route of pairs. It keeps nothing: every pair hands its output to the next.
contract Router {
    error OutputTooSmall(uint256 amount, uint256 wanted);

    /// Takes `amountIn` of `tokenIn` from the caller and sends what the last pair pays to `to`.
    function swapExactIn(
        uint256 amountIn,
        uint256 amountOutMin,
        address tokenIn,
        address[] calldata route,
        address to
    ) external returns (uint256 amount) {
        Token(tokenIn).transferFrom(msg.sender, route[0], amountIn);
        amount = amountIn;
        for (uint256 hop = 0; hop < route.length; ++hop) {
            Pair pair = Pair(route[hop]);
            address next = hop + 1 < route.length ? route[hop + 1] : to;
            (uint256 reserve0, uint256 reserve1) = pair.getReserves();
            address token0 = pair.token0();
            if (tokenIn == token0) {
                amount = quote(amount, reserve0, reserve1);
                tokenIn = pair.token1();
                pair.swap(0, amount, next);
            } else {
                amount = quote(amount, reserve1, reserve0);
                tokenIn = token0;
                pair.swap(amount, 0, next);
            }
        }
        if (amount < amountOutMin) revert OutputTooSmall(amount, amountOutMin);
    }

    function quote(uint256 amountIn, uint256 reserveIn, uint256 reserveOut) private pure returns (uint256) {
        uint256 charged = amountIn * 997;
        return charged * reserveOut / (reserveIn * 1000 + charged);
    }
}
