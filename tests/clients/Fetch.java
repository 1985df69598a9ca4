import java.net.URL;

/** Writes what is at a URL to standard output. */
class Fetch {
    public static void main(String[] arguments) throws Exception {
        try (var in = new URL(arguments[0]).openStream()) {
            in.transferTo(System.out);
        }
        System.out.flush();
    }
}
