use super::*;

#[test]
fn every_status_has_its_class_before_and_after_the_first_file_stands() {
    let rows = [
        (2, "refused", "unknown", "unknown"),
        (3, "refused", "refused", "unknown"),
        (4, "not-sent", "not-sent", "unknown"),
        (5, "refused", "refused", "unknown"),
        (6, "not-sent", "not-sent", "unknown"),
        (7, "not-sent", "not-sent", "unknown"),
        (8, "refused", "refused", "unknown"),
        (99, "not-sent", "not-sent", "unknown"),
    ];
    for (code, preparing, first, second) in rows {
        let fault = Fault::Status(code);
        assert_eq!(before_anything(fault).as_str(), preparing, "{code}");
        assert_eq!(while_replacing(fault, false).as_str(), first, "{code}");
        assert_eq!(while_replacing(fault, true).as_str(), second, "{code}");
    }
    assert_eq!(before_anything(Fault::Cut("x")).as_str(), "not-sent");
    assert_eq!(while_replacing(Fault::Cut("x"), false).as_str(), "unknown");
}
