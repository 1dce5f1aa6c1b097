// SPDX-License-Identifier: GPL-2.0

//! Says whether there was anything to compare with.

/// Fails where the header was not found, and says why. The other tests are not
/// there then.
#[test]
fn the_kernels_header_was_compared_with() {
    #[cfg(not(kernel_header))]
    panic!(
        "nothing was compared with the kernel's iscsi_proto.h: {}",
        env!("FERRITE_ABI_PROBLEM")
    );
    #[cfg(kernel_header)]
    assert!(
        std::path::Path::new(ferrite_abi_tests::HEADER).is_file(),
        "{} is gone",
        ferrite_abi_tests::HEADER
    );
}
