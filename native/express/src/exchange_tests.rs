// SPDX-License-Identifier: MIT

use ring::rand::SystemRandom;

use super::pair_tests::{ANSWERER, OFFERER, Pair, binding};
use super::*;
use crate::seal::Cipher;

fn pair() -> Pair {
    Pair::new([Params::default(); 2], true)
}

fn exchange(role: Role) -> Exchange {
    Exchange::new(role, binding(), Params::default(), 0)
}

/// What a side says to a message it must not take.
fn refusal(exchange: &mut Exchange, message: Message) -> String {
    match &exchange.message(&message.to_bytes(), 1, &SystemRandom::new())[..] {
        [Action::Refused(why)] => why.clone(),
        other => panic!("{message:?} was not refused: {other:?}"),
    }
}

#[test]
fn the_first_epoch_begins_after_one_and_a_half_round_trips() {
    let mut pair = pair();
    pair.run(39);
    assert!(pair.sides[OFFERER].seal.is_none() && pair.sides[ANSWERER].open.contains_key(&1));
    pair.run(40);
    assert!(pair.sides[OFFERER].seal.is_some() && pair.sides[ANSWERER].seal.is_none());
    pair.run(60);
    assert_eq!(pair.epoch(), Some(1));
}

#[test]
fn the_answerer_seals_from_the_first_datagram_of_the_new_epoch_on_when_done_is_late() {
    let mut pair = pair();
    pair.run(30);
    pair.sides[OFFERER].delay_ms = 9_000;
    pair.run(40);
    pair.datagram(OFFERER, 5);
    pair.run(45);
    assert_eq!(pair.epoch(), Some(1), "DONE is still under way");
    pair.run(10_000);
    assert!(pair.sides[ANSWERER].refused.is_empty(), "DONE says nothing new then");
}

#[test]
fn keys_are_renewed_every_120_s_and_the_old_ones_forgotten_30_s_later() {
    let mut pair = pair();
    pair.run(120_030);
    assert_eq!(pair.epoch(), Some(1));
    pair.run(120_100);
    assert_eq!(pair.epoch(), Some(2));
    assert!(pair.sides.iter().all(|side| side.open.len() == 2));
    pair.run(150_070);
    assert!(pair.sides.iter().all(|side| side.open.len() == 2));
    pair.run(150_100);
    assert!(pair.sides.iter().all(|side| side.open.len() == 1));
    pair.run(3_600_000);
    assert_eq!(pair.epoch(), Some(30), "one each 120.04 s");
}

#[test]
fn keys_are_renewed_after_2_to_the_40_datagrams_of_either_side() {
    for who in [OFFERER, ANSWERER] {
        let mut pair = pair();
        pair.run(20_000);
        pair.sides[who].sealed = (1 << 40) - 1;
        pair.tick(who);
        pair.run(21_000);
        assert_eq!(pair.epoch(), Some(1));
        pair.sides[who].sealed = 1 << 40;
        pair.tick(who);
        pair.run(22_000);
        assert_eq!(pair.epoch(), Some(2));
    }
}

#[test]
fn an_unknown_epoch_renews_the_keys_but_not_more_often_than_every_10_s() {
    for who in [OFFERER, ANSWERER] {
        let mut pair = pair();
        for _ in 0..600 {
            pair.run(pair.now + 100);
            pair.unknown(who);
        }
        let epoch = pair.epoch().expect("both seal");
        assert!((5..=6).contains(&epoch), "{epoch} epochs in 60 s");
    }
}

#[test]
fn asks_that_cross_with_a_new_epoch_begin_no_second_one() {
    let mut pair = pair();
    pair.run(20_000);
    pair.unknown(ANSWERER);
    pair.unknown(OFFERER);
    pair.run(31_000);
    assert_eq!(pair.epoch(), Some(2));
}

#[test]
fn an_offerer_that_gets_no_answer_tries_3_times_10_s_pauses_60_s_and_tries_again() {
    let random = SystemRandom::new();
    let mut offerer = exchange(Role::Offerer);
    let mut sent = Vec::new();
    while offerer.next_ms() < 200_000 {
        let now = offerer.next_ms();
        for action in offerer.tick(0, now, &random) {
            match action {
                Action::Send(_) => sent.push(now / 1000),
                Action::Failed(why) => assert_eq!(why, "3 times no answer to the key exchange within 10 s"),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(sent, [0, 10, 20, 90, 100, 110, 180, 190]);
}

#[test]
fn an_offerer_that_is_not_heard_any_more_fails_and_can_open_for_30_s_longer() {
    let mut pair = pair();
    pair.run(100_000);
    pair.sides[ANSWERER].delay_ms = 1_000_000;
    pair.run(150_100);
    assert_eq!(pair.sides[OFFERER].failed.len(), 1);
    assert!(pair.sides[OFFERER].seal.is_none() && pair.sides[OFFERER].open.contains_key(&1));
    pair.run(180_100);
    assert!(pair.sides[OFFERER].open.is_empty());
}

#[test]
fn an_answerer_asks_when_the_offerer_is_late_and_gives_up_after_160_s() {
    let mut pair = pair();
    pair.run(100_000);
    let random = SystemRandom::new();
    // From here on the answerer is alone.
    let mut asked = Vec::new();
    let since = 60;
    let failed = loop {
        let side = &mut pair.sides[ANSWERER];
        let now = side.exchange().next_ms();
        assert!(now < 1_000_000);
        match &side.exchange().tick(0, now, &random)[..] {
            [Action::Send(bytes)] => {
                assert_eq!(Message::parse(bytes), Ok(Message::Ask { epoch: 1 }));
                asked.push(now - since);
            }
            [Action::Failed(why)] => break (now - since, why.clone()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(asked, [130_000, 140_000, 150_000]);
    assert_eq!(failed, (160_000, "the peer has not renewed the keys for 160 s".to_owned()));
    let exchange = pair.sides[ANSWERER].exchange();
    assert_eq!(exchange.next_ms(), since + 190_000);
    assert!(matches!(exchange.tick(0, since + 190_000, &random)[..], [Action::Forget(1)]));
    assert_eq!(exchange.next_ms(), u64::MAX);
}

#[test]
fn an_answerer_asks_at_most_3_times_for_one_epoch() {
    let mut pair = pair();
    pair.run(100);
    let answerer = pair.sides[ANSWERER].exchange();
    let mut asks = 0;
    for now in (100..100_000).step_by(100) {
        answerer.unknown();
        asks += answerer.tick(0, now, &SystemRandom::new()).len();
    }
    assert_eq!(asks, 3);
}

#[test]
fn aes_is_agreed_on_only_when_both_have_it() {
    let (all, always) = (Ciphers::ALL, Ciphers::ALWAYS);
    for (offerer, answerer, expected) in [
        (all, all, Cipher::Aes256Gcm),
        (all, always, Cipher::ChaCha20Poly1305),
        (always, all, Cipher::ChaCha20Poly1305),
    ] {
        let params = [offerer, answerer].map(|ciphers| Params { ciphers, ..Params::default() });
        let mut pair = Pair::new(params, true);
        pair.run(100);
        for side in &pair.sides {
            assert_eq!(side.seal.as_ref().map(|(_, key)| key.cipher()), Some(expected));
        }
    }
}

#[test]
fn messages_that_do_not_fit_are_refused_with_words_and_change_nothing() {
    let random = SystemRandom::new();
    let public = *crate::keys::Ephemeral::generate(&random).expect("random").public();
    let init = |epoch| Message::Init { epoch, ciphers: Ciphers::ALL, public };
    let reply = |epoch, cipher| Message::Reply { epoch, cipher, public };

    let mut answerer = exchange(Role::Answerer);
    assert_eq!(refusal(&mut answerer, init(0)), "INIT for epoch 0, which is not within 1 to 64");
    assert_eq!(refusal(&mut answerer, init(65)), "INIT for epoch 65, which is not within 1 to 64");
    assert_eq!(answerer.message(&init(7).to_bytes(), 1, &random).len(), 2);
    assert_eq!(refusal(&mut answerer, init(7)), "INIT for epoch 7, which is not within 8 to 71");
    let words = "DONE for epoch 6, which is not being agreed on";
    assert_eq!(refusal(&mut answerer, Message::Done { epoch: 6 }), words);
    let words = "REPLY came from the offerer of the link";
    assert_eq!(refusal(&mut answerer, reply(7, Cipher::Aes256Gcm)), words);
    assert_eq!(refusal(&mut answerer, Message::Ask { epoch: 7 }), "ASK came from the offerer of the link");
    assert!(answerer.opened(6, 1).is_empty() && answerer.next_ms() == u64::MAX);

    let mut offerer =
        Exchange::new(Role::Offerer, binding(), Params { ciphers: Ciphers::ALWAYS, ..Params::default() }, 0);
    let words = "REPLY for epoch 1, which is not being agreed on";
    assert_eq!(refusal(&mut offerer, reply(1, Cipher::ChaCha20Poly1305)), words);
    assert_eq!(offerer.tick(0, 0, &random).len(), 1);
    let words = "REPLY for epoch 2, which is not being agreed on";
    assert_eq!(refusal(&mut offerer, reply(2, Cipher::ChaCha20Poly1305)), words);
    let words = "REPLY chose AES-256-GCM, which was not offered";
    assert_eq!(refusal(&mut offerer, reply(1, Cipher::Aes256Gcm)), words);
    assert_eq!(refusal(&mut offerer, init(1)), "INIT came from the answerer of the link");
    assert_eq!(refusal(&mut offerer, Message::Done { epoch: 1 }), "DONE came from the answerer of the link");
    assert_eq!(refusal(&mut offerer, Message::Ask { epoch: 2 }), "ASK about epoch 2, which never was");
    let [Action::Refused(why)] = &offerer.message(&[9], 1, &random)[..] else { panic!("taken") };
    assert_eq!(why, "a message of the key exchange is malformed: its kind is 9");
    // The good one is still taken.
    let actions = offerer.message(&reply(1, Cipher::ChaCha20Poly1305).to_bytes(), 1, &random);
    assert!(matches!(actions[..], [Action::Open(1, _), Action::Seal(1, _), Action::Send(_)]), "{actions:?}");
}

#[test]
fn a_public_key_that_gives_everybody_the_same_secret_is_refused() {
    let random = SystemRandom::new();
    let mut answerer = exchange(Role::Answerer);
    let words = refusal(&mut answerer, Message::Init { epoch: 1, ciphers: Ciphers::ALL, public: [0; 32] });
    assert_eq!(words, "the public key of an INIT is not valid");
    let mut offerer = exchange(Role::Offerer);
    offerer.tick(0, 0, &random);
    let reply = Message::Reply { epoch: 1, cipher: Cipher::ChaCha20Poly1305, public: [0; 32] };
    let actions = offerer.message(&reply.to_bytes(), 1, &random);
    assert!(matches!(&actions[..], [Action::Failed(why)] if why == "the peer's public key is not valid"));
    assert_eq!(offerer.next_ms(), 60_001);
}
