#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netckpt_fuzz::plan::run(data));
