// SPDX-License-Identifier: GPL-2.0

//! Any bytes as a PDU: its header, and what follows as its Additional Header
//! Segments.

use ferrite_proto::wire::*;

/// The first 48 bytes are the header; fewer are no PDU.
pub fn run(data: &[u8]) {
    let Some((header, rest)) = data.split_first_chunk::<BHS_LEN>() else {
        return;
    };
    let bhs = Bhs::cast(header);
    lengths(bhs);
    match Request::parse(header) {
        Ok(request) => accepted(&request, bhs),
        Err(error) => refused(error),
    }
    let ahs = usize::try_from(bhs.total_ahs_length()).expect("at most 1020");
    segments(&rest[..ahs.min(rest.len())]);
}

/// Lengths add up, and stay in the range that the 48 bytes can say.
fn lengths(bhs: &Bhs) {
    for (header_digest, data_digest) in [(false, false), (false, true), (true, false), (true, true)]
    {
        let whole = bhs.pdu_length(header_digest, data_digest);
        let parts = bhs.rest_of_header(header_digest) + bhs.data_on_wire(data_digest);
        assert_eq!(whole, parts + 48);
        assert_eq!(whole % 4, 0, "a PDU is whole words");
        assert!(whole <= 48 + MAX_TOTAL_AHS_LENGTH + (1 << 24) + 2 * DIGEST_LEN);
        assert!(whole >= 48 + bhs.total_ahs_length() + bhs.data_segment_length());
    }
}

/// What was let through breaks none of the rules that the header shows.
fn accepted(request: &Request<'_>, bhs: &Bhs) {
    let with_ahs = matches!(request, Request::ScsiCommand(_));
    assert!(with_ahs || bhs.total_ahs_length() == 0);
    let with_data = !matches!(
        request,
        Request::TaskMgmt(_) | Request::Logout(_) | Request::Snack(_)
    );
    assert!(with_data || bhs.data_segment_length() == 0);
    let without_task = matches!(request, Request::NopOut(_) | Request::Snack(_));
    assert!(without_task || bhs.itt() != RESERVED_TAG);
    match request {
        Request::ScsiCommand(command) => {
            let (immediate, edtl) = (command.data_segment_length(), command.edtl());
            assert!(command.is_write() || command.is_final());
            assert!(command.is_write() || command.is_read() || edtl == 0);
            assert!(command.is_write() || immediate == 0);
            assert!(immediate <= edtl);
            assert!(command.is_final() || immediate < edtl);
        }
        Request::NopOut(nop) => {
            assert!(bhs.final_bit());
            assert!(nop.wants_answer() || nop.immediate());
        }
        Request::Text(text) => assert!(!(text.continue_bit() && text.is_final())),
        Request::Logout(logout) => {
            assert!(bhs.final_bit());
            assert!(!matches!(logout.reason(), LogoutReason::Reserved(_)));
        }
        Request::TaskMgmt(task_mgmt) => {
            assert!(bhs.final_bit());
            let function = task_mgmt.function();
            assert!(function.has_lun() || !format!("{function}").is_empty());
        }
        Request::Snack(snack) => {
            assert!(bhs.final_bit());
            assert!(!matches!(snack.kind(), SnackType::Reserved(_)));
        }
        Request::Login(login) => {
            for stage in [login.csg(), login.nsg()] {
                assert!(matches!(stage, Ok(_) | Err(Error::ReservedStage(2))));
            }
        }
        Request::DataOut(data) => {
            assert_eq!(data.is_solicited(), data.ttt() != RESERVED_TAG);
        }
    }
}

/// A refusal can be answered and told.
fn refused(error: Error) {
    assert!(!error.to_string().is_empty());
    assert!(!error.login_status().is_success());
    let reason = error.reject_reason();
    assert!(matches!(
        reason,
        RejectReason::ProtocolError
            | RejectReason::CommandNotSupported
            | RejectReason::InvalidPduField
    ));
}

/// Segments are parts of the bytes, in order, and cover them unless one is
/// wrong.
fn segments(bytes: &[u8]) {
    let mut covered = 0;
    let mut wrong = false;
    for segment in ahs::Iter::new(bytes) {
        assert!(!wrong, "nothing follows an error");
        match segment {
            Ok(ahs::Segment::ExtendedCdb(spill)) => {
                assert!(!spill.is_empty());
                assert_eq!(spill, &bytes[covered + 4..][..spill.len()]);
                covered += 4 + spill.len().next_multiple_of(4);
            }
            Ok(ahs::Segment::BidiReadLength(_)) => covered += 8,
            Err(error) => {
                refused(error);
                wrong = true;
            }
        }
    }
    assert!(wrong || covered == bytes.len());
    match Ahs::parse(bytes) {
        Ok(_) => assert!(!wrong),
        Err(error) => refused(error),
    }
}
