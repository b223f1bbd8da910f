//! Any BTF in any form: an error, or BTF that is valid if the original was, and that the same form leaves as it is. The first byte tells the form.

#![no_main]

use btf::{Btf, Form, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&bits, data)) = data.split_first() else { return };
    let Ok(btf) = Btf::parse(data) else { return };
    let mut form = Form::FULL;
    let known = [
        &mut form.enum64,
        &mut form.float,
        &mut form.decl_tag,
        &mut form.type_tag,
        &mut form.attributes,
        &mut form.func_linkage,
    ];
    for (bit, known) in known.into_iter().enumerate() {
        *known = bits >> bit & 1 != 0;
    }
    let Ok(made) = form.apply(&btf) else { return };
    let made = made.finish(btf.endian()).unwrap();
    let again = Btf::parse(&made).expect("a form can be read");
    if validate(&btf, &Default::default()).is_ok() && again.type_count() > 1 {
        validate(&again, &Default::default()).expect("what was valid stays valid");
    }
    assert_eq!(form.apply(&again).unwrap().finish(btf.endian()).unwrap(), made);
});
