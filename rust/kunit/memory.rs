// SPDX-License-Identifier: GPL-2.0

//! Pages of commands, what is gathered for TCP, and allocations that fail.

#[kernel::macros::kunit_tests(ferrite_memory)]
mod tests {
    use super::super::check;
    use crate::{
        conn::kept::Kept,
        limits::{
            self,
            Accounts, //
        },
        parcel::{
            Entry,
            Payload, //
        },
        proto::{
            login::params::SessionParams,
            name::IscsiName,
            serial::Sn,
            wire::BHS_LEN, //
        },
        session::{
            Identity,
            Session, //
        },
        sys::{
            gather::Gather,
            kunit,
            misc::{
                self,
                Limit, //
            },
            pages::{
                Gfp,
                PageBuf,
                MAX_LEN, //
            },
            percpu::PerCpu, //
        },
        target::{
            AclName,
            Targets, //
        },
        tmf::Waiter, //
    };
    use core::net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr, //
    };
    use kernel::{
        prelude::*,
        sync::Arc, //
    };

    fn noise(len: usize) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::from_elem(0u8, len, GFP_KERNEL)?;
        misc::random(&mut bytes);
        Ok(bytes)
    }

    #[test]
    fn zeros_are_zeros() -> Result {
        for len in [0, 1, 7, 48, 4096, 8191, 8192, 20000] {
            for flags in [GFP_KERNEL, GFP_ATOMIC | __GFP_NOWARN] {
                // What is left behind is what is allocated next, most of the time.
                let mut before = KVec::from_elem(0u8, len, flags)?;
                misc::random(&mut before);
                drop(before);
                let bytes = misc::zeros(len, flags)?;
                check(bytes.len() == len, "as many as were asked for")?;
                check(bytes.iter().all(|b| *b == 0), "all are 0")?;
            }
        }
        Ok(())
    }

    #[test]
    fn pages_keep_what_is_written() -> Result {
        for len in [
            1,
            511,
            4096,
            4097,
            32768,
            32769,
            65536,
            1 << 20,
            (1 << 20) + 1,
        ] {
            let bytes = noise(len)?;
            for gfp in [Gfp::Atomic, Gfp::Sleep] {
                let mut buf = PageBuf::new(len, gfp)?;
                check(buf.len() == len, "the length that was asked for")?;
                buf.write_at(0, &bytes)?;
                let mut back = KVVec::from_elem(0u8, len, GFP_KERNEL)?;
                buf.read_at(0, &mut back)?;
                check(back.iter().eq(bytes.iter()), "what was written is read")?;
                check(
                    buf.crc32c(0, len, !0) == misc::crc32c(!0, &bytes),
                    "the digest over pieces is that over all",
                )?;
                check(
                    buf.write_at(len, &[0]).is_err() && buf.read_at(1, &mut back).is_err(),
                    "nothing is beyond the end",
                )?;
            }
        }
        check(PageBuf::new(MAX_LEN + 1, Gfp::Sleep).is_err(), "the limit")?;
        check(PageBuf::new(0, Gfp::Atomic)?.len() == 0, "no bytes")
    }

    /// Where a large page fails smaller ones do, so the command still runs; and
    /// where the list of pieces fails, nothing is left behind.
    #[test]
    fn pages_do_with_less() -> Result {
        for len in [4096, 65536, 256 << 10, 1 << 20] {
            let bytes = noise(len)?;
            let seen = kunit::each_failure(
                || {
                    let mut buf = PageBuf::new(len, Gfp::Atomic)?;
                    buf.write_at(0, &bytes)?;
                    match buf.crc32c(0, len, 7) == misc::crc32c(7, &bytes) {
                        true => Ok(()),
                        false => Err(EIO),
                    }
                },
                || Ok(()),
            )?;
            check(seen.sites > 0, "pages are allocated")?;
            check(seen.other == 0, "none has wrong bytes")?;
            if len > 65536 {
                check(
                    seen.managed > 0,
                    "smaller pages take the place of a large one",
                )?;
            }
        }
        Ok(())
    }

    #[test]
    fn the_stash_gives_each_page_to_one() -> Result {
        const LEN: usize = 128 << 10;
        for round in 0..50u8 {
            let mut a = PageBuf::empty();
            a.refill(LEN, Gfp::Atomic)?;
            let mut b = PageBuf::empty();
            b.refill(LEN, Gfp::Atomic)?;
            a.fill_pattern(0, LEN, &[round])?;
            b.fill_pattern(0, LEN, &[!round])?;
            let mut byte = [0u8; 1];
            for at in (0..LEN).step_by(4096) {
                a.read_at(at, &mut byte)?;
                check(byte == [round], "nobody else writes to it")?;
            }
        }
        crate::sys::pages::tidy(true);
        Ok(())
    }

    #[test]
    fn what_is_gathered_is_held() -> Result {
        let mut buf = PageBuf::new(8192, Gfp::Sleep)?;
        buf.write_at(0, &noise(8192)?)?;
        let alone = kunit::page_refs(&buf);
        {
            let mut gather = Gather::new(4)?;
            check(gather.push_pages(&buf, 0, 8192), "there is room")?;
            check(kunit::page_refs(&buf) > alone, "a reference of its own")?;
            check(gather.total() == 8192 && !gather.is_sent(), "what it holds")?;
            gather.clear();
            check(kunit::page_refs(&buf) == alone, "given back by clear")?;
            check(gather.push_pages(&buf, 100, 50), "there is room again")?;
            check(gather.total() == 50, "a part of a page")?;
        }
        check(kunit::page_refs(&buf) == alone, "given back by drop")
    }

    #[test]
    fn what_is_gathered_has_its_limits() -> Result {
        let mut gather = Gather::new(2)?;
        let buf = PageBuf::new(4096, Gfp::Sleep)?;
        // Headers that follow one another are one piece.
        for _ in 0..85 {
            check(gather.push_bytes(&[7; 48]), "a header fits")?;
        }
        check(gather.total() == 85 * 48 && gather.room() == 1, "one piece")?;
        check(gather.push_pages(&buf, 0, 4096), "the second piece")?;
        check(gather.room() == 0, "that was the last")?;
        check(!gather.push_bytes(&[7; 48]), "no room for a header")?;
        check(!gather.push_pages(&buf, 0, 1), "nor for a page")?;
        check(
            gather.total() == 85 * 48 + 4096,
            "what was refused is not counted",
        )?;
        gather.clear();
        check(
            gather.room() == 2 && gather.total() == 0,
            "all is free again",
        )
    }

    #[test]
    fn a_header_without_memory_is_refused() -> Result {
        let mut gather = Gather::new(4)?;
        let (pushed, failed) = kunit::failing(1, || gather.push_bytes(&[1; 48]));
        check(failed && !pushed, "no page, no header")?;
        check(gather.total() == 0, "nothing was added")?;
        check(gather.push_bytes(&[1; 48]), "the next one fits")?;
        let seen = kunit::each_failure(|| Gather::new(64), || Ok(()))?;
        check(
            seen.refused > 0 && seen.other == 0,
            "without memory it is refused",
        )
    }

    #[test]
    fn numbers_and_waiters_without_memory() -> Result {
        let seen = kunit::each_failure(PerCpu::<4>::new, || Ok(()))?;
        check(seen.other == 0, "what fails says ENOMEM")?;
        let seen = kunit::each_failure(Waiter::silent, || Ok(()))?;
        check(
            seen.refused > 0 && seen.other == 0,
            "without memory it is refused",
        )
    }

    /// A response that was sent, and is to be sent by another connection (TASK REASSIGN),
    /// can be so later when there is no memory for it now.
    #[test]
    fn a_response_that_cannot_be_handed_on_stays() -> Result {
        let mut kept = Kept::new()?;
        kept.begin(Sn(1));
        let mut header = [0; BHS_LEN];
        if let Some(opcode) = header.first_mut() {
            // A SCSI Response.
            *opcode = 0x21;
        }
        kept.keep(Entry {
            header,
            inline: KVec::new(),
            payload: Payload::None,
        });
        let (taken, failed) = kunit::failing(1, || kept.take_response(0));
        check(failed && taken.is_err(), "there is no memory for it")?;
        check(kept.take_response(0)?.is_some(), "it is there still")?;
        check(kept.take_response(0)?.is_none(), "and once only")
    }

    /// All that an administrator can make, with each allocation failing in turn:
    /// what is refused has left nothing behind, so that it can be made the next
    /// time.
    #[test]
    fn objects_without_memory() -> Result {
        let name = |text: &[u8]| IscsiName::parse(text).map_err(|_| EINVAL);
        let target_name = name(b"iqn.2026-11.test:kunit")?;
        let initiator = name(b"iqn.2026-11.test:initiator")?;
        let seen = kunit::each_failure(
            || {
                let targets = Targets::new()?;
                let device = targets.create_device(0, b"disk")?;
                let target = targets.create_target(target_name);
                let made = target.and_then(|target| {
                    let made = target.create_tpg(1).and_then(|tpg| {
                        let lun = tpg.create_lun(0)?;
                        let acl = tpg.create_acl(AclName::Initiator(initiator));
                        if let Ok(acl) = &acl {
                            if let Ok(map) = acl.create_mapped_lun(0) {
                                acl.remove_mapped_lun(&map);
                            }
                            tpg.remove_acl(acl);
                        }
                        tpg.remove_lun(&lun);
                        target.remove_tpg(&tpg);
                        acl.map(|_| ())
                    });
                    targets.remove_target(&target);
                    made
                });
                targets.remove_device(&device);
                made
            },
            || Ok(()),
        )?;
        check(seen.sites > 10, "many allocations")?;
        check(seen.other == 0, "what fails says ENOMEM")
    }

    /// What the sessions from one address may send is what each of them got, and no more.
    #[test]
    fn places_for_commands_are_given_once() -> Result {
        let accounts = Arc::pin_init(Accounts::new(), GFP_KERNEL)?;
        let most = misc::limit(Limit::CommandsPerAddress);
        let a_host = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        let first = accounts.open(a_host(1), 17, most.saturating_sub(20), 1)?;
        let second = accounts.open(a_host(1), 17, 144, 1)?;
        check(second.commands() == 20, "what is left")?;
        let refused = |from| accounts.open(from, 17, 144, 1).err() == Some(EBUSY);
        check(refused(a_host(1)), "then none")?;
        let instead = accounts.open(a_host(1), 17, 144, 2)?;
        check(
            instead.commands() == 144,
            "for one that takes another one's place",
        )?;
        let other = accounts.open(a_host(2), 17, 144, 1)?;
        check(other.commands() == 144, "another address has its own")?;
        drop((first, instead));
        let again = accounts.open(a_host(1), 17, 144, 1)?;
        check(again.commands() == 144, "what was given back")?;
        let near = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        let all = accounts.open(near(1), 17, most, 1)?;
        check(
            all.commands() == most && refused(near(2)),
            "one host may have a /64",
        )?;
        let mut places = 0u64;
        accounts.for_each(&mut |usage| {
            places = places.saturating_add(usage.commands);
            Ok(())
        })?;
        check(places == limits::commands_in_use(), "the sum is the sum")?;
        let ours = u64::from(most).saturating_add(20 + 144 + 144);
        check(places == ours, "of those that are there")?;
        let seen = kunit::each_failure(|| accounts.open(a_host(3), 17, 144, 1), || Ok(()))?;
        check(seen.sites > 0 && seen.other == 0, "what fails says ENOMEM")?;
        drop((second, other, again, all));
        check(limits::commands_in_use() == 0, "all are given back")
    }

    /// To tell sessions which LUNs they have takes no memory but that for the LUNs:
    /// else what was taken away from them would stay theirs.
    #[test]
    fn sessions_are_told_without_memory() -> Result {
        let name = |text: &[u8]| IscsiName::parse(text).map_err(|_| EINVAL);
        let targets = Targets::new()?;
        let target = targets.create_target(name(b"iqn.2026-11.test:kunit")?)?;
        let tpg = target.create_tpg(1)?;
        tpg.set_enabled(true)?;
        let session = Session::new(Identity {
            initiator: name(b"iqn.2026-11.test:initiator")?,
            alias: KVec::new(),
            isid: [0, 0, 0, 0, 0, 1],
            tsih: 1,
            discovery: false,
            tpg: Some(tpg.clone()),
            tally: None,
            acl: None,
            params: SessionParams::RFC_DEFAULT,
            depth: 1,
            share: super::super::share()?,
            cmd_sn: Sn(1),
        })?;
        let told = tpg.add_session(&session).and_then(|()| {
            kunit::each_failure(
                || {
                    tpg.remap_all();
                    Ok(())
                },
                || check(tpg.has_session(&session), "the session stays"),
            )
        });
        session.teardown();
        check(!tpg.has_session(&session), "the session is gone")?;
        target.remove_tpg(&tpg);
        targets.remove_target(&target);
        check(told?.sites == 0, "nothing is allocated")
    }
}
