// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// A sale that mints tokens with consecutive numbers. Price and limits are placed by the genesis state.
///
/// The part of ERC-721 (https://eips.ethereum.org/EIPS/eip-721) that a rush needs: minting and ownership.
contract MintSale {
    uint256 public price;
    uint256 public supplyMax;
    uint256 public quantityMax;
    uint256 public minted;
    mapping(uint256 => address) public ownerOf;
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 indexed id);

    error WrongQuantity(uint256 quantity, uint256 quantityMax);
    error WrongPayment(uint256 paid, uint256 wanted);
    error SoldOut(uint256 minted, uint256 supplyMax);

    function mint(uint256 quantity) external payable {
        if (quantity == 0 || quantity > quantityMax) revert WrongQuantity(quantity, quantityMax);
        if (msg.value != price * quantity) revert WrongPayment(msg.value, price * quantity);
        uint256 first = minted;
        if (first + quantity > supplyMax) revert SoldOut(first, supplyMax);
        minted = first + quantity;
        balanceOf[msg.sender] += quantity;
        for (uint256 id = first + 1; id <= first + quantity; ++id) {
            ownerOf[id] = msg.sender;
            emit Transfer(address(0), msg.sender, id);
        }
    }
}
