//! Devices that cuDNN can be asked about without there being one.

/// Their names and what cuDNN is told of them, by compute capability: NVIDIA's public specifications, not
/// captured from devices.
pub const DEVICES: [(&str, &str); 7] = [
    ("t4", include_str!("devices/t4.json")),
    ("a100", include_str!("devices/a100.json")),
    ("rtx3090", include_str!("devices/rtx3090.json")),
    ("rtx4090", include_str!("devices/rtx4090.json")),
    ("h100", include_str!("devices/h100.json")),
    ("b200", include_str!("devices/b200.json")),
    ("rtx5090", include_str!("devices/rtx5090.json")),
];
