//! Floating-point numbers as text. In browsers JavaScript converts them, because Rust's tables for
//! the conversion take 10 KB that do not compress.

#[cfg(target_family = "wasm")]
mod host {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_name = Number)]
        pub fn read(text: &str) -> f64;

        #[wasm_bindgen(js_name = String)]
        fn string(number: f64) -> String;
    }

    /// Converts a number to text. Adds the sign of a negative zero, which JavaScript omits.
    pub fn write(number: f64) -> String {
        if number == 0.0 && number.is_sign_negative() { "-0.0".into() } else { string(number) }
    }
}

#[cfg(not(target_family = "wasm"))]
mod host {
    pub fn read(text: &str) -> f64 {
        text.parse().unwrap_or(f64::NAN)
    }

    pub fn write(number: f64) -> String {
        serde_json::Value::from(number).to_string()
    }
}

pub use host::{read, write};
