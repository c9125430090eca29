// The one place where the tests reach the product.
export * from "camp-server";
