// SPDX-License-Identifier: GPL-2.0

//! Serial number arithmetic and 24-bit numbers beside the kernel's own.

#![cfg(kernel_header)]

use ferrite_abi_tests as kernel;
use ferrite_proto::serial::Sn;
use ferrite_proto::wire::Bhs;
use ferrite_proto::wire::BHS_LEN;

/// The numbers around which comparisons change.
fn edges() -> Vec<u32> {
    let middles = [0u32, 1 << 31, 1 << 30, 3 << 30, 0x1234_5678, u32::MAX - 5];
    let near = |middle: u32| (0..12).map(move |n| middle.wrapping_add(n).wrapping_sub(6));
    middles.into_iter().flat_map(near).collect()
}

#[test]
fn serial_numbers_compare_as_in_the_kernel() {
    let mut incomparable = 0;
    for a in edges() {
        for b in edges() {
            let ours = [
                Sn(a).lt(Sn(b)),
                Sn(a).le(Sn(b)),
                Sn(a).gt(Sn(b)),
                Sn(a).ge(Sn(b)),
            ];
            if a.wrapping_sub(b) == 1 << 31 {
                // RFC 1982 section 3.2 leaves this pair undefined. The kernel
                // calls each number the lesser one; here they are incomparable.
                incomparable += 1;
                assert_eq!(ours, [false; 4], "{a:#x} {b:#x}");
            } else {
                assert_eq!(ours, kernel::sna(a, b), "{a:#x} {b:#x}");
            }
        }
    }
    assert!(incomparable != 0);
}

#[test]
fn lengths_of_24_bits_are_the_kernels() {
    for length in [0, 1, 0xff, 0x100, 0xffff, 0x01_0000, 0x01_0203, 0xff_ffff] {
        let bytes = kernel::hton24(length);
        assert_eq!(kernel::ntoh24(&bytes), length);
        let mut header = [0; BHS_LEN];
        header[kernel::bytes_of("iscsi_hdr", "dlength")].copy_from_slice(&bytes);
        assert_eq!(Bhs::cast(&header).data_segment_length(), length);
    }
}
