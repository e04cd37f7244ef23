// SPDX-License-Identifier: MIT
//! Text maps (the seam's named strings): what is written reads back; what is read is lines of the input, each once, in order.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_base::{TextMap, TextMapWriter};
use ipop_fuzz::Choices;

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    read(data);
    write(&mut Choices::new(data));
}

fn read(data: &[u8]) {
    let Ok(map) = TextMap::parse(data) else { return };
    let text = std::str::from_utf8(data).expect("only UTF-8 is taken");
    // A line ends with LF or CR LF; a CR elsewhere belongs to it.
    let lines =
        text.split_inclusive('\n').map(|line| line.strip_suffix("\r\n").or(line.strip_suffix('\n')).unwrap_or(line));
    for line in lines.filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=').expect("a line without = is refused");
        assert!(map.all(key).any(|one| one == value), "{key}={value} is lost");
        assert!(map.get(key).is_some() && map.need(key).is_ok());
    }
}

fn write(choices: &mut Choices<'_>) {
    let mut entries: Vec<(String, String)> = Vec::new();
    while !choices.done() && entries.len() < 20 {
        let key = choices.one_of(&["ufrag", "pwd", "server", "record"]);
        entries.push((key.to_owned(), String::from_utf8_lossy(choices.bytes(60)).into_owned()));
    }
    let writer = entries.iter().fold(TextMapWriter::default(), |map, (key, value)| map.put(key, value));
    let map = TextMap::parse(&writer.bytes()).expect("our own map");
    for key in ["ufrag", "pwd", "server", "record"] {
        let wanted = entries.iter().filter(|(name, _)| name == key).map(|(_, value)| value.replace(['\r', '\n'], " "));
        assert_eq!(map.all(key).collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    }
}
