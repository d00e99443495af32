// Verify and sign messages between fallow and a platform: Standard Webhooks 1.0.0, `v1a` (Ed25519) and `v1` (HMAC-SHA-256).
// Java 17's standard library only. As a program it tries itself on the test vectors: `java Verify.java < ../vectors.tsv`.

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Scanner;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public final class Verify {
    private static final long WINDOW = 300; // seconds between the sender's clock and yours, either way
    private static final int MOST_SIGNATURES = 8;
    private static final int LONGEST_HEADER = 2048;
    private static final int MOST_KEYS = 4;
    private static final Pattern ID = Pattern.compile("msg_(?=[0-9]*[A-Za-z])(?!.*[0-9]{7})[A-Za-z0-9]{16,64}");
    private static final Pattern TIMESTAMP = Pattern.compile("[1-9][0-9]{0,10}");
    // What DER puts before the 32 bytes of an Ed25519 key (RFC 8410).
    private static final byte[] PUBLIC_HEAD = HexFormat.of().parseHex("302a300506032b6570032100");
    private static final byte[] SECRET_HEAD = HexFormat.of().parseHex("302e020100300506032b657004220420");

    private Verify() {}

    /**
     * Tells whether the owner of one of the keys has signed this very body just now.
     *
     * @param id the header webhook-id; this and the next two are null where they are missing
     * @param timestamp the header webhook-timestamp
     * @param signature the header webhook-signature
     * @param body the bytes as they came; parse them afterwards
     * @param keys the sender's active keys, whpk_… (Ed25519) or whsec_… (shared secret)
     * @param now your clock
     */
    public static boolean verify(String id, String timestamp, String signature, byte[] body, List<String> keys, Instant now) {
        if (id == null || timestamp == null || signature == null || keys.isEmpty() || keys.size() > MOST_KEYS) {
            return false;
        }
        if (!ID.matcher(id).matches() || !TIMESTAMP.matcher(timestamp).matches()) {
            return false;
        }
        if (Math.abs(now.getEpochSecond() - Long.parseLong(timestamp)) > WINDOW) {
            return false;
        }
        String[] tokens = signature.split(" ", -1);
        if (signature.length() > LONGEST_HEADER || tokens.length > MOST_SIGNATURES) {
            return false;
        }
        byte[] content = content(id, timestamp, body);
        boolean good = false;
        for (String key : keys) { // every pair is tried, so that the time taken does not tell which was the good one
            for (String token : tokens) {
                good |= matches(key, token, content);
            }
        }
        return good;
    }

    /** Returns the header webhook-signature for a body that is sent at the timestamp, unix seconds. */
    public static String sign(String secret, String id, long timestamp, byte[] body) throws GeneralSecurityException {
        byte[] content = content(id, Long.toString(timestamp), body);
        if (secret.startsWith("whsec_")) {
            return "v1," + Base64.getEncoder().encodeToString(hmac(secret, content));
        }
        byte[] seed = Arrays.copyOf(strictBase64(secret.substring("whsk_".length())), 32);
        Signature signer = Signature.getInstance("Ed25519");
        signer.initSign(KeyFactory.getInstance("Ed25519").generatePrivate(new PKCS8EncodedKeySpec(join(SECRET_HEAD, seed))));
        signer.update(content);
        return "v1a," + Base64.getEncoder().encodeToString(signer.sign());
    }

    private static boolean matches(String key, String token, byte[] content) {
        int comma = token.indexOf(',');
        String scheme = comma < 0 ? "" : token.substring(0, comma);
        byte[] made = strictBase64(token.substring(comma + 1));
        try {
            if (scheme.equals("v1") && key.startsWith("whsec_")) {
                return MessageDigest.isEqual(made, hmac(key, content));
            }
            if (!scheme.equals("v1a") || !key.startsWith("whpk_") || made.length != 64) {
                return false;
            }
            byte[] raw = strictBase64(key.substring("whpk_".length()));
            Signature verifier = Signature.getInstance("Ed25519");
            verifier.initVerify(KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(join(PUBLIC_HEAD, raw))));
            verifier.update(content);
            return verifier.verify(made);
        } catch (GeneralSecurityException refused) { // Java throws where a signature has no valid form
            return false;
        }
    }

    private static byte[] hmac(String secret, byte[] content) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(strictBase64(secret.substring("whsec_".length())), "HmacSHA256"));
        return mac.doFinal(content);
    }

    private static byte[] content(String id, String timestamp, byte[] body) {
        return join((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8), body);
    }

    private static byte[] join(byte[] first, byte[] second) {
        ByteArrayOutputStream both = new ByteArrayOutputStream();
        both.writeBytes(first);
        both.writeBytes(second);
        return both.toByteArray();
    }

    /** Decodes base64 in its one canonical spelling; anything else gives no bytes, which are no signature. */
    private static byte[] strictBase64(String text) {
        try {
            byte[] raw = Base64.getDecoder().decode(text);
            return Base64.getEncoder().encodeToString(raw).equals(text) ? raw : new byte[0];
        } catch (IllegalArgumentException refused) {
            return new byte[0];
        }
    }

    public static void main(String[] arguments) throws GeneralSecurityException {
        boolean wrong = false;
        Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            String[] cells = lines.nextLine().split("\t", -1);
            if (cells.length != 9 || cells[0].startsWith("#")) {
                continue;
            }
            byte[] body = strictBase64(cells[8]);
            String found;
            if (cells[0].equals("sign")) {
                found = sign(cells[3], header(cells[5]), Long.parseLong(header(cells[6])), body);
            } else {
                List<String> keys = cells[3].isEmpty() ? List.of() : List.of(cells[3].split(" "));
                Instant now = Instant.ofEpochSecond(Long.parseLong(cells[4]));
                found = verify(header(cells[5]), header(cells[6]), header(cells[7]), body, keys, now) ? "ok" : "refused";
            }
            boolean differs = !found.equals(cells[2]);
            wrong |= differs;
            System.out.println(cells[1] + "\t" + found + "\t" + (differs ? "but expected: " + cells[2] : ""));
        }
        System.exit(wrong ? 1 : 0);
    }

    private static String header(String cell) {
        return cell.equals("-") ? null : new String(strictBase64(cell), StandardCharsets.UTF_8);
    }
}
