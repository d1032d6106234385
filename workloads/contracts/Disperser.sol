// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Token} from "./Token.sol";

/// Pays many holders in one call, as airdrops, payrolls and exchanges do. It keeps nothing.
contract Disperser {
    /// Moves `value` of `token` from the caller to each recipient.
    function disperse(Token token, uint256 value, address[] calldata recipients) external {
        for (uint256 index = 0; index < recipients.length; ++index) {
            token.transferFrom(msg.sender, recipients[index], value);
        }
    }
}
