//! One session without its socket: which byte is a prompt, what is shown, and what is sent.
//!
//! A prompt is `% ` at the beginning of a line; the beginning of everything and what follows a
//! line that was sent count as such. `% ` elsewhere may be the end of output without a line end
//! or the middle of `100% done`. It is taken for a prompt once nothing has followed it for a
//! while ([`Dialogue::handle_quiet`]), so that no line is sent ahead and none is waited for in
//! vain.

use super::script::Script;
use super::text::Decoder;
use std::collections::VecDeque;

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Show what the remote shell sent.
    Show(String),
    /// Show this line of the script, its line end included, and send it.
    Send(Vec<u8>),
    /// The script is at its end and the shell waits for more: close for writing.
    CloseWriting,
}

/// How far a prompt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    /// `%` at the beginning of a line.
    LinePercent,
    Middle,
    /// `%` elsewhere.
    MiddlePercent,
    /// `% ` elsewhere, and nothing after it yet.
    MiddlePrompt,
}

/// The state of one session.
#[derive(Debug)]
pub struct Dialogue {
    script: Script,
    place: Place,
    decoder: Decoder,
    effects: VecDeque<Effect>,
    closed: bool,
}

impl Dialogue {
    /// A session that has not received anything.
    pub fn new(script: Script) -> Dialogue {
        Dialogue {
            script,
            place: Place::LineStart,
            decoder: Decoder::default(),
            effects: VecDeque::new(),
            closed: false,
        }
    }

    /// Takes what arrived, in pieces of any size.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) {
        while let Some(end) = self.find_prompt(bytes) {
            let (through, rest) = bytes.split_at(end);
            self.show(through);
            self.answer();
            bytes = rest;
        }
        self.show(bytes);
    }

    /// Nothing has arrived for a while.
    pub fn handle_quiet(&mut self) {
        if self.expects_quiet() {
            self.answer();
        }
    }

    /// The remote shell has closed.
    pub fn handle_end(&mut self) {
        let mut text = String::new();
        self.decoder.finish(&mut text);
        self.push_text(text);
    }

    /// Whether [`Dialogue::handle_quiet`] would do anything.
    pub fn expects_quiet(&self) -> bool {
        self.place == Place::MiddlePrompt
    }

    /// The next thing to do; `None`: wait for more.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Steps through `bytes` to the end of the first prompt.
    fn find_prompt(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            self.place = match (self.place, byte) {
                (Place::LinePercent, b' ') => return Some(at + 1),
                (_, b'\n' | b'\r') => Place::LineStart,
                (Place::LineStart, b'%') => Place::LinePercent,
                (_, b'%') => Place::MiddlePercent,
                (Place::MiddlePercent, b' ') => Place::MiddlePrompt,
                _ => Place::Middle,
            };
        }
        None
    }

    fn show(&mut self, bytes: &[u8]) {
        let mut text = String::with_capacity(bytes.len());
        self.decoder.decode(bytes, &mut text);
        self.push_text(text);
    }

    fn push_text(&mut self, text: String) {
        if !text.is_empty() {
            self.effects.push_back(Effect::Show(text));
        }
    }

    fn answer(&mut self) {
        self.place = Place::LineStart;
        match self.script.next_line() {
            Some(line) => self.effects.push_back(Effect::Send(line)),
            None if !self.closed => {
                self.closed = true;
                self.effects.push_back(Effect::CloseWriting);
            }
            None => {}
        }
    }
}

#[cfg(test)]
#[path = "dialogue_test.rs"]
mod tests;
