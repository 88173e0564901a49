//! The ciphers of upstream's providers, with their bytes: a nonce, then what it sealed.
//!
//! Counterparts: `k8s.io/apiserver/pkg/storage/value/encrypt/{aes,secretbox}`.

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{
        BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt as _, BlockModeEncrypt as _, BlockSizeUser,
        InnerIvInit as _, KeyInit as _, block_padding::Pkcs7, consts::U16,
    },
};
use aes_gcm::{
    AesGcm,
    aead::{Aead as _, Payload, consts::U12},
};
use crypto_secretbox::{
    XSalsa20Poly1305,
    aead::{Aead as _, KeyInit as _, generic_array::GenericArray},
};

/// One key of one provider.
pub(super) trait Cipher: Send + Sync {
    /// Encrypts the value of a key of the store; `None` when it is too long to.
    fn seal(&self, plain: &[u8], key: &str) -> Option<Vec<u8>>;
    /// The other way; `None` for what this key has not sealed for that key of the store.
    fn open(&self, sealed: &[u8], key: &str) -> Option<Vec<u8>>;
}

/// Makes a cipher of a provider's key; `None` for secrets of another length.
pub(super) fn make(provider: &str, secret: &[u8]) -> Option<Box<dyn Cipher>> {
    Some(match (provider, secret.len()) {
        ("aescbc", 16) => Box::new(Cbc(Aes128::new_from_slice(secret).ok()?)),
        ("aescbc", 24) => Box::new(Cbc(Aes192::new_from_slice(secret).ok()?)),
        ("aescbc", 32) => Box::new(Cbc(Aes256::new_from_slice(secret).ok()?)),
        ("aesgcm", 16) => Box::new(Gcm(Aes128::new_from_slice(secret).ok()?.into())),
        ("aesgcm", 24) => Box::new(Gcm(Aes192::new_from_slice(secret).ok()?.into())),
        ("aesgcm", 32) => Box::new(Gcm(Aes256::new_from_slice(secret).ok()?.into())),
        ("secretbox", 32) => Box::new(Secretbox(XSalsa20Poly1305::new_from_slice(secret).ok()?)),
        _ => return None,
    })
}

struct Cbc<C>(C);

impl<C> Cipher for Cbc<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Clone + Send + Sync,
{
    fn seal(&self, plain: &[u8], _key: &str) -> Option<Vec<u8>> {
        let iv: [u8; 16] = rand::random();
        let sealed = cbc::Encryptor::inner_iv_init(self.0.clone(), &iv.into());
        Some([&iv[..], &sealed.encrypt_padded_vec::<Pkcs7>(plain)].concat())
    }

    fn open(&self, sealed: &[u8], _key: &str) -> Option<Vec<u8>> {
        let (iv, sealed) = sealed.split_first_chunk::<16>()?;
        let opened = cbc::Decryptor::inner_iv_init(self.0.clone(), &(*iv).into());
        opened.decrypt_padded_vec::<Pkcs7>(sealed).ok()
    }
}

struct Gcm<C>(AesGcm<C, U12>);

impl<C> Cipher for Gcm<C>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn seal(&self, plain: &[u8], key: &str) -> Option<Vec<u8>> {
        let nonce: [u8; 12] = rand::random();
        let sealed = self.0.encrypt(&nonce.into(), Payload { msg: plain, aad: key.as_bytes() }).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn open(&self, sealed: &[u8], key: &str) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
        self.0.decrypt(&(*nonce).into(), Payload { msg: sealed, aad: key.as_bytes() }).ok()
    }
}

struct Secretbox(XSalsa20Poly1305);

impl Cipher for Secretbox {
    fn seal(&self, plain: &[u8], _key: &str) -> Option<Vec<u8>> {
        let nonce: [u8; 24] = rand::random();
        Some([&nonce[..], &self.0.encrypt(GenericArray::from_slice(&nonce), plain).ok()?].concat())
    }

    fn open(&self, sealed: &[u8], _key: &str) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<24>()?;
        self.0.decrypt(GenericArray::from_slice(nonce), sealed).ok()
    }
}
