// SPDX-License-Identifier: GPL-2.0

//! What holds of any input.

use std::net::IpAddr;
use std::path::Path;

use ferritectl::files;
use ferritectl::info;
use ferritectl::names;
use ferritectl::names::BackstoreId;
use ferritectl::names::Name;
use ferritectl::names::Portal;
use proptest::prelude::*;

/// One component of a path that leads nowhere else.
fn is_component(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && !text.contains('\0') && text != "." && text != ".."
}

proptest! {
    /// Each address and port has one directory, which is read back as the same.
    #[test]
    fn portals_round_trip(address: IpAddr, port in 1u16..) {
        let text = match address {
            IpAddr::V4(ip) => format!("{ip}:{port}"),
            IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        };
        let portal = Portal::parse(&text).unwrap();
        prop_assert_eq!(portal.as_str(), &text);
        prop_assert_eq!(&Portal::parse(portal.as_str()).unwrap(), &portal);
        prop_assert_eq!(&Portal::existing(&text), &portal);
        prop_assert!(is_component(portal.as_str()));
    }

    /// Whatever is taken as a name stays inside its directory.
    #[test]
    fn names_are_components(text in ".{0,40}", tail in "[a-z0-9.:/_-]{0,20}") {
        for text in [text.clone(), format!("iqn.2026-01.org.example:{tail}")] {
            if let Ok(name) = Name::parse(&text) {
                prop_assert!(is_component(name.as_str()), "{}", text);
                prop_assert_eq!(Name::parse(name.as_str()).unwrap(), name);
            }
            if let Ok(portal) = Portal::parse(&text) {
                prop_assert!(is_component(portal.as_str()), "{}", text);
            }
            if names::check_backstore_name(&text).is_ok() {
                prop_assert!(is_component(&text), "{}", text);
            }
            if names::check_attribute_name(&text).is_ok() {
                prop_assert!(is_component(&text), "{}", text);
            }
            if let Ok(id) = BackstoreId::parse(&format!("iblock_1/{text}")) {
                prop_assert!(is_component(&id.name), "{}", text);
                prop_assert_eq!(BackstoreId::parse(&id.to_string()).unwrap(), id);
            }
        }
    }

    /// What a kernel shows may be torn or strange.
    #[test]
    fn any_info_is_survived(text in "(InitiatorName: |CID: |Address |ISID: |[ -~\n]){0,40}") {
        let sessions = info::parse_sessions(&text);
        prop_assert_eq!(sessions.len(), text.lines().filter(|l| l.starts_with("InitiatorName:")).count());
        info::parse_device(&text);
    }

    /// A file is a configuration, or it is refused with its name.
    #[test]
    fn any_file_is_survived(text in ".{0,200}") {
        if let Err(error) = files::from_text(Path::new("the-file"), &text) {
            prop_assert_eq!(error.exit_code().code(), 8);
            prop_assert!(error.to_string().contains("the-file"));
        }
    }

    /// No part of a file is a file.
    #[test]
    fn a_torn_file_is_refused(end in 0usize..60) {
        let whole = r#"{"format_version": 1, "configuration": {"targets": {}, "backstores": {}}}"#;
        prop_assert!(files::from_text(Path::new("f"), whole).is_ok());
        prop_assert!(files::from_text(Path::new("f"), &whole[..end]).is_err());
    }
}
