// SPDX-License-Identifier: GPL-2.0

//! How many workers the slow commands of one device may have, when workers are
//! what all devices share, and a device that hangs gives none of its back.

/// Workers that a device may have at most.
pub const MOST: u32 = 32;

/// As long as all devices together hold fewer workers than this, each may have
/// [`MOST`].
pub const PLENTY: u32 = 512;

/// As long as they hold fewer than this, each may have [`FEW`]; one after that.
pub const SCARCE: u32 = 1024;

/// Workers that a device may have when they are no longer plenty.
pub const FEW: u32 = 4;

/// How many workers a device may have when all devices together hold `held`.
/// Never 0: who waits for a worker of his device is called by that one, so there
/// has to be one.
pub const fn share(held: u32) -> u32 {
    if held < PLENTY {
        MOST
    } else if held < SCARCE {
        FEW
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The workers that so many devices hold, each with as many commands as it
    /// likes, none of which ends.
    fn held_by(devices: u32) -> u32 {
        let mut held = 0;
        for _ in 0..devices {
            let mut mine = 0;
            while mine < share(held) {
                mine += 1;
                held += 1;
            }
        }
        held
    }

    #[test]
    fn few_devices_have_all_they_want() {
        assert_eq!(held_by(1), 32);
        assert_eq!(held_by(16), 512);
    }

    #[test]
    fn more_of_them_have_less() {
        assert_eq!(held_by(17), 516);
        assert_eq!(held_by(16 + 128), 1024);
        assert_eq!(held_by(16 + 128 + 100), 1124);
    }

    /// The workqueue has 2048 workers.
    #[test]
    fn a_thousand_devices_that_hang_leave_some_to_others() {
        assert!(held_by(1000) < 1900);
    }

    #[test]
    fn each_has_one_whatever_is_held() {
        for held in [0, PLENTY, SCARCE, 2048, u32::MAX] {
            assert!(share(held) >= 1);
        }
    }

    /// What one device takes while others hold much is never more than when
    /// they hold little.
    #[test]
    fn it_never_grows_with_what_is_held() {
        for held in 0..3000 {
            assert!(share(held + 1) <= share(held));
        }
    }
}
